"""Watches an answer that is an event stream.

Bytes go through as they come. What has gone through is kept and read in blocks, when it is many
bytes or many pieces, when the output could have reached its cap, and at the end; so a chunk costs an
append.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.core.calibration import calibration
from proxy.core.tokens import chat_tokens
from proxy.gateway.dialects import sse
from proxy.gateway.dialects.base import RequestFacts, Scan, Watch
from proxy.gateway.dialects.chat_chunks import ChunkReader
from proxy.gateway.dialects.chat_ending import ending
from proxy.gateway.dialects.chat_output import StreamOutput
from proxy.gateway.dialects.notes import note_flag
from proxy.gateway.dialects.text_bound import TextBound
from proxy.gateway.dialects.usage import Json
from proxy.gateway.dialects.usage_strip import LONGEST_EVENT, UsageStrip

EVENT_TOO_LONG: Final = "event_too_long"  # one event was passed on unread

# Makers whose vocabularies can make fewer tokens of a text than OpenAI's (measured: DeepSeek 0.82,
# Gemini 0.8, Mistral 0.96). Anthropic's make more.
_OTHER_VOCABULARY = re.compile(
    r"deepseek|gemini|gemma|[sxt]tral|llama|qwen|qwq|grok|kimi|glm|minimax|command|nova|"
    r"jamba|granite|ernie|doubao|hunyuan|sonar|nemotron|phi-",
    re.IGNORECASE,
)
_OWN_STEPS = ("model ", "server tool ")  # reasons why a request is not bounded
_MOST_KEPT: Final = 96 * 1024  # bytes that wait to be read: most answers end before, with usage
_LATER = 2_048  # bytes until it is asked again whether the vocabulary is there
_LONG_EVENT = 4 * 1024  # bytes; while a longer one comes in, it is looked at ever more rarely
_PER_PIECE = 48  # bytes that a kept piece costs beside its own
# What comes in many small pieces comes slowly: there are many such streams at once, so that their memory
# counts, and reading them is little beside what each piece costs on its way.
_MOST_PIECES: Final = 64


class StreamScanner:
    """Scans a stream of chat chunks."""

    __slots__ = (
        "_bound",
        "_cap",
        "_facts",
        "_finished",
        "_held",
        "_kept",
        "_looked",
        "_most",
        "_near",
        "_output",
        "_pieces",
        "_reader",
        "_room",
        "_scan",
        "_strip",
        "_tail",
        "_uncounted",
        "_unread",
        "_watch",
        "cut",
    )

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._facts = facts
        self._watch = watch
        self._scan = Scan()
        self._reader = ChunkReader(self._scan)
        self._output = StreamOutput(watch.count, plain=facts.choices == 1)
        self._strip: UsageStrip | _Silence | None = UsageStrip() if watch.strip_usage else None
        self._cap = _least(_cap(facts, watch.output_cap), watch.paid_output)
        self._kept: list[bytes] = []  # pieces of which the text was not counted yet
        self._looked = 0  # so many of them were looked at for how much text they can hold:
        self._most = 0  # so much at most
        self._tail = b""  # and the beginning of an event beside that
        self._pieces = _MOST_PIECES  # so many may wait
        self._near = False  # that may be past the cap: its text is to be counted, and can be
        self._unread: list[bytes] = []  # whole events that were counted, and nothing else
        self._held = 0  # bytes of both, without those that were not looked at
        self._bound = TextBound()
        self._uncounted = b""  # what was read at the end, but not for its text
        self._finished = False
        self.cut = False
        self._room = self._room_left()  # bytes that may come until it is looked again

    @property
    def scan(self) -> Scan:
        """What was learned so far; reads what is kept."""
        self._read_all()
        return self._scan

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on, less what is hidden; past the cap, the end of the answer instead."""
        self._kept.append(data)
        self._room -= len(data) + _PER_PIECE
        if (self._room < 0 or len(self._kept) > self._pieces) and not self._may_wait():
            crossing = self._count_kept(len(data))
            if crossing is not None:
                return self._end_at(crossing, data)
        strip = self._strip
        return data if strip is None else strip.feed(data)

    def finish(self) -> bytes:
        """Read the rest, and give what the strip holds back."""
        if self._finished:
            return b""
        self._finished = True
        rest = b"".join(self._kept)
        self._kept.clear()
        self._unread.append(rest)
        self._read()
        if self.cut:
            return b""
        self._uncounted = rest
        if self._strip is None:
            return b""
        if self._strip.gave_up:
            note_flag(self._scan, EVENT_TOO_LONG)
        return self._strip.finish()

    def count_output(self) -> int:
        """Tokens of the text relayed so far."""
        self._read_all()
        rest, self._uncounted = self._uncounted, b""
        if rest:
            self._output.add(rest)
        return self._output.billed(calibration(self._facts.model))

    def _may_wait(self) -> bool:
        """Whether what is kept need not be read now: it surely fits under the cap, and is not too much."""
        new = self._kept[self._looked :]
        fresh = b"".join(new)
        self._looked = len(self._kept)
        self._held += len(fresh) + _PER_PIECE * len(new)
        room = _MOST_KEPT - self._held
        self._near = False
        if self._cap is not None and not self.cut:
            left = self._cap - self._output.at_most - self._most
            # What is cut off within an event is looked at again with its end: else it were all text.
            fresh = self._tail + fresh
            end = fresh.rfind(b"\n\n") + 2
            whole, self._tail = (fresh[:end], fresh[end:]) if end > 1 else (b"", fresh)
            most = self._bound.most(whole, left) if whole else 0
            self._most += most
            left -= most + len(self._tail)
            if left < 0:
                self._near = self._watch.ready()
                if self._near:
                    return False
                left = _LATER  # an estimate must not cut an answer that keeps to its cap
            room = min(room, left)
        self._room = room
        return room >= 0 and len(self._kept) <= self._pieces

    def _count_kept(self, fresh: int) -> "_Crossing | None":
        """Count the whole events of what is kept, of which the last ``fresh`` bytes are not relayed yet."""
        many = len(self._kept) > self._pieces
        kept = b"".join(self._kept)
        end = sse.boundary(kept)
        block, rest = kept[:end], kept[end:]
        if len(rest) > LONGEST_EVENT:
            note_flag(self._scan, EVENT_TOO_LONG)
            rest = rest[-3:]  # enough to see where the event ends
        self._kept = [rest] if rest else []
        self._looked = self._most = 0
        self._tail = b""
        crossing = None
        if not self.cut:
            crossing = self._count(block, len(kept) - fresh if fresh else None)
        if block:
            self._unread.append(block)
        if self._held > _MOST_KEPT or many or crossing is not None:
            self._read()
        self._held = sum(map(len, self._unread))
        self._room = max(self._room_left(), 2 * len(rest) if len(rest) > _LONG_EVENT else 0)
        self._room -= len(rest)
        self._pieces = max(_MOST_PIECES, len(rest) // _PER_PIECE)
        return crossing

    def _read_all(self) -> None:
        if self._kept and not self._finished:
            self._count_kept(0)
        self._read()

    def _read(self) -> None:
        """Read what the counted events say."""
        if self._unread:
            self._reader.read(b"".join(self._unread))
            self._unread.clear()

    def _room_left(self) -> int:
        """How many bytes may wait: no more than tokens are left, since each token has a byte."""
        room = _MOST_KEPT - self._held
        if self._cap is None or self.cut:
            return room
        return min(room, max(0, self._cap - self._output.at_most))

    def _count(self, block: bytes, relayed: int | None = None) -> "_Crossing | None":
        """Count the text of whole events. With ``relayed``, stop at the event that crosses the cap."""
        if relayed is None or self._cap is None or not self._near:
            self._output.add(block)
            return None
        crossed = self._output.add_up_to(block, self._cap)
        if crossed is None:
            return None
        began = crossed.start < relayed and self._strip is None
        if not began:
            self._output.take_back(crossed)
        cut = crossed.end if began else crossed.start
        return _Crossing(block[crossed.start : crossed.end], max(0, cut - relayed))

    def _end_at(self, crossing: "_Crossing", data: bytes) -> bytes:
        """What is left of the answer up to the cap, and an end for it."""
        head = data[: crossing.fresh]
        if self._strip is not None:
            head = self._strip.feed(head)
        self.cut = self._scan.cut = True
        self._strip = _Silence()
        self._room = _MOST_KEPT
        usage = self._usage() if self._facts.wants_usage else None
        return head + ending(crossing.event, self._facts.choices, usage)

    def _usage(self) -> Json:
        """The usage of a cut answer, in OpenAI's shape: the prompt as reported, else as counted."""
        if self._scan.usage is not None:
            prompt = self._scan.usage.input_tokens
        else:
            prompt = _prompt_tokens(self._facts, self._watch.count)
        output = self._output.tokens()
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
        }


def _prompt_tokens(facts: RequestFacts, count: Callable[[str], int]) -> int:
    document = facts.document
    if "messages" in document:
        return chat_tokens(document, facts.model, count)
    prompt = document.get("prompt")
    told = prompt if isinstance(prompt, list) else [prompt]
    return facts.prompt_tokens + sum(count(text) for text in told if isinstance(text, str))


def _cap(facts: RequestFacts, cap: int | None) -> int | None:
    """The cap in our tokens; None where it can't be watched.

    Some vocabularies need up to a third fewer tokens than the one that we count by: an answer that a
    provider ended at the cap by itself must not be cut before. And what a provider's own tools do is
    shown in the stream, but is not the output that is limited.
    """
    if cap is None or any(reason.startswith(_OWN_STEPS) for reason in facts.unbounded):
        return None
    return cap + cap // 2 if _OTHER_VOCABULARY.search(facts.model) else cap


def _least(cap: int | None, paid: int | None) -> int | None:
    if cap is None or paid is None:
        return paid if cap is None else cap
    return min(cap, paid)


class _Silence:
    """What the client gets after the end."""

    gave_up = False

    def feed(self, data: bytes) -> bytes:
        """Nothing."""
        del data
        return b""

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class _Crossing(NamedTuple):
    """The event with which the output runs past its cap."""

    event: bytes
    fresh: int  # how much of the bytes just fed comes before the cut
