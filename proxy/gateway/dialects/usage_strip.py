"""Hides the usage that we asked for and the client did not: its bytes are those of an unasked stream.

Two things are taken out, and nothing else: the member ``"usage":null`` of a chunk, and the chunk that
holds usage and nothing else of meaning. Judged by content, never by position.
"""

import re
from typing import Final

from proxy.gateway.dialects import splice, sse
from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.usage import Json

LONGEST_EVENT: Final = 1024 * 1024  # bytes; a longer one goes through unread

# The last members of a chunk that is one line: what stands after usage:null up to the chunk's end has
# only scalars, so the brace closes the chunk itself. A quote after a comma is never inside a string.
_REST = rb'(?=(?:,[ ]?"[^"\\\n]*+":[ ]?(?:"[^"\\\n]*+"|[-+.\w]++))*+\}(?>\r\n|\n|\r){2})'
_NULL = re.compile(rb',"usage":null' + _REST)
_SPACED_NULL = re.compile(rb', "usage": null' + _REST)
_LAST_NULL = b',"usage":null}\n\n'
_NULL_BETWEEN = b',"usage":null}\n\ndata: '
_ONE_LINE = re.compile(rb"[\r\n]*+data: [^\r\n]++[\r\n]++")

_ZEROS: Final = b'{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
_NOTHING: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

# What a chunk says about the stream and not about the answer. llama.cpp puts timings there.
_ENVELOPE: Final = frozenset(
    {
        "choices",
        "created",
        "id",
        "model",
        "object",
        "obfuscation",
        "p",  # Mistral's padding
        "provider",
        "service_tier",
        "stats",
        "system_fingerprint",
        "timings",
        "usage",
        "x_groq",
    }
)


class UsageStrip:
    """Takes a stream's bytes in any pieces; holds back an event that is not whole, and no more."""

    __slots__ = ("_dropped", "_edge", "_glue", "_held", "_held_bytes", "gave_up")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._edge = b""  # the last bytes that are held
        self._dropped = False  # the last event was taken out
        self._glue = False  # it ended with a CR that an LF may follow
        self.gave_up = False  # an event was too long to be read

    def feed(self, data: bytes) -> bytes:
        """The bytes of the events that are whole now, less what is hidden."""
        if data.endswith(_LAST_NULL) and not self._held and not self._glue:
            visible = _usual(data)
            if visible is not None:
                self._dropped = False
                return visible
        if self._held:
            if self._held_bytes < LONGEST_EVENT and not sse.boundary(self._edge + data):
                return self._hold(data)
            data = b"".join((*self._held, data))
            self._held.clear()
            self._held_bytes = 0
            self._edge = b""
        glued = b""
        if self._glue and data:
            self._glue = False
            if data.startswith(b"\n"):
                glued, data = (b"" if self._dropped else b"\n"), data[1:]
        end = len(data) if data.endswith(b"\n\n") else sse.boundary(data)
        if end == len(data):
            return glued + self._visible(data) if glued else self._visible(data)
        out = glued + self._visible(data[:end])
        if len(data) - end > LONGEST_EVENT:
            self.gave_up = True
            return out + data[end:]
        self._hold(data[end:])
        return out

    def finish(self) -> bytes:
        """What is held back: half an event as it is, a whole one without its empty line like others."""
        held = b"".join(self._held)
        self._held.clear()
        return _visible_event(held)

    def _hold(self, data: bytes) -> bytes:
        self._held.append(data)
        self._held_bytes += len(data)
        self._edge = (self._edge + data[-3:])[-3:]
        return b""

    def _visible(self, whole: bytes) -> bytes:
        """The whole events, less what is hidden."""
        if whole.find(b"\r") >= 0:
            return self._visible_one_by_one(whole)
        if whole.rfind(b'"usage"') >= 0:
            found = _without_nulls(whole)
            if found is None:
                return self._visible_one_by_one(whole)
            whole = found
            if whole.rfind(b'"usage"') >= 0:
                return self._visible_where_it_is(whole)
        self._dropped = False
        return whole

    def _visible_where_it_is(self, whole: bytes) -> bytes:
        """The same, looking only at the events that have usage, from the last on: there are few."""
        out: list[bytes] = []
        end = len(whole)
        self._dropped = False
        while (at := whole.rfind(b'"usage"', 0, end)) >= 0:
            start = whole.rfind(b"\n\n", 0, at) + 2
            start = 0 if start == 1 else start  # there is none before it
            stop = whole.index(b"\n\n", at) + 2
            event = whole[start:stop]
            visible = _visible_event(event)
            if stop == len(whole):
                self._dropped = visible is not event and not visible.strip(b"\r\n")
            out += (whole[stop:end], visible)
            end = start
        out.append(whole[:end])
        out.reverse()
        return b"".join(out)

    def _visible_one_by_one(self, whole: bytes) -> bytes:
        out = []
        for event in sse.events(whole):
            visible = _visible_event(event)
            self._dropped = visible is not event and not visible.strip(b"\r\n")
            out.append(visible)
        self._glue = whole.endswith(b"\r")
        return b"".join(out)


def _visible_event(event: bytes) -> bytes:
    if b'"usage"' not in event:
        return event
    data = sse.payload(event)
    chunk = parse(data)
    if chunk is None:  # malformed: judged by its end, as in a block of events
        return _cut_nulls(event) if _ONE_LINE.fullmatch(event) else event
    if "usage" not in chunk:
        return event
    if chunk["usage"] is None or _is_zero_filled(chunk):
        return _without_null(event, data)
    if not _is_usage_only(chunk):
        return event
    return event[: len(event) - len(event.lstrip(b"\r\n"))]  # empty lines before it stay


def _usual(event: bytes) -> bytes | None:
    """One event of one line with ``"usage":null`` at its end, without that; None for anything else."""
    if event.find(b"\n") != len(event) - 2 or not event.startswith(b"data: "):
        return None
    visible = event[: -len(_LAST_NULL)] + b"}\n\n"
    return visible if visible.rfind(b'"usage"') < 0 and event.find(b"\r") < 0 else None


def _without_nulls(events: bytes) -> bytes | None:
    """The events without ``"usage":null``; None where they are not one data line each.

    It stands last in nearly all chunks that have it, and there is found without looking at the rest.
    """
    if not events.startswith(b"data: "):
        return None
    if events.find(b"\n") == len(events) - 2:  # one event
        return _cut_nulls(events)
    parts = events.split(_NULL_BETWEEN)
    odd = b"".join([part for part in parts if b"\n" in part])
    if odd.count(b"\n") != 2 + 2 * odd.count(b"\n\ndata: "):
        return None
    if parts[-1].endswith(_LAST_NULL):
        parts[-1] = parts[-1][: -len(_LAST_NULL)] + b"}\n\n"
    return _cut_nulls(b"}\n\ndata: ".join(parts))


def _cut_nulls(events: bytes) -> bytes:
    if events.rfind(b',"usage":null') >= 0:
        events = _NULL.sub(b"", events)
    if events.rfind(b', "usage": null') >= 0:
        events = _SPACED_NULL.sub(b"", events)
    return events


def _without_null(event: bytes, data: bytes) -> bytes:
    """The event without its null usage; as it is where the chunk stands in several lines."""
    at = event.find(data, event.find(b"data:"))
    if at < 0:
        return event
    cut = data
    while nulls := _null_usages(cut):
        cut = splice.apply(cut, nulls[:1])
    return event[:at] + cut + event[at + len(data) :]


def _null_usages(chunk: bytes) -> list[splice.Edit]:
    found = splice.members(chunk)
    return [
        splice.removal(chunk, found, i)
        for i, member in enumerate(found)
        if member.name == "usage" and chunk[slice(*member.value)] in (b"null", _ZEROS)
    ]


def _is_zero_filled(chunk: Json) -> bool:
    """Whether this is what Ollama makes of every chunk of a completion, where it is asked for usage."""
    return chunk.get("object") == "text_completion" and chunk["usage"] == _NOTHING


def _is_usage_only(chunk: Json) -> bool:
    if chunk.get("choices") != [] or not isinstance(chunk["usage"], dict):
        return False
    x_groq = chunk.get("x_groq")
    if isinstance(x_groq, dict) and x_groq.get("error"):
        return False
    return all(name in _ENVELOPE or not value for name, value in chunk.items())
