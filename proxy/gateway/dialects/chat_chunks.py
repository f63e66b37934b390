"""Reads what a stream of chat chunks says, from whole events, many at once.

Nothing here is done for each event that can be done for a block of them: the searches run backwards,
which CPython does four times as fast as forwards, and stop at the last hit.
"""

import re
from collections.abc import Iterator

import orjson

from proxy.gateway.dialects import sse
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.chat_answer import note_plain_usage
from proxy.gateway.dialects.chat_text import spoken_in_choices
from proxy.gateway.dialects.notes import (
    note_error,
    note_names,
    note_tier,
    note_usage,
    parse,
)

_MOST_TRIED = 64  # events in which model and id are looked for
_END_OF_STREAM = 4096  # bytes in which [DONE] stands; only comments may come after it
_MOST_SKIPPED = 16  # [DONE] and comments after the last chunk
_ERROR_NULL = re.compile(rb'"error"[ ]*:[ ]*null')

# A delta that holds one string, or nothing: the group is its text, still escaped, with the quote
# before it. Of any other delta the group is empty.
DELTA = re.compile(
    rb'"delta":(?:\{(?:"role":"assistant",)?"content":("[^"\\]*+(?:\\.[^"\\]*+)*+)"'
    rb'(?:,"[a-z_]++":null)*+\})?',
    re.DOTALL,
)


def unix_lines(block: bytes) -> bytes:
    """The block with LF as its only line end, for reading."""
    if b"\r" in block:
        return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return block


class ChunkReader:
    """Notes in ``scan`` what blocks of whole events say. The last usage and tier win."""

    __slots__ = ("_named", "_tried", "scan")

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._named = False
        self._tried = 0

    def read(self, block: bytes) -> None:
        """Read one block of whole events."""
        block = unix_lines(block)
        if not self._named:
            self._read_names(block)
        if not self._read_last(block):
            self._read_usage(block)
        self._read_error(block)
        if _last_line(block[-_END_OF_STREAM:], b"[DONE]") in (b"data: [DONE]", b"data:[DONE]"):
            self.scan.finished = True

    def _read_names(self, block: bytes) -> None:
        start = 0
        while (end := block.find(b"\n\n", start) + 2) > 1 and not self._named:
            chunk = parse(sse.payload(block[start:end]))
            if chunk is not None:
                note_names(self.scan, chunk)
            self._tried += 1
            found = self.scan.served_model and self.scan.upstream_call_id
            self._named = bool(found) or self._tried >= _MOST_TRIED
            start = end

    def _read_last(self, block: bytes) -> bool:
        """Read the last chunk. True where it has usage: what came before it does not count then."""
        end = len(block)
        for _ in range(_MOST_SKIPPED):
            start = block.rfind(b"\n\n", 0, max(end - 2, 0)) + 2
            if start == 1:  # there is none before it
                start = 0
            payload = sse.payload(block[start:end])
            if payload.find(b'"usage":{') > 0 and note_plain_usage(self.scan, payload):
                return True
            chunk = parse(payload)
            if chunk is not None:
                note_tier(self.scan, chunk)
                if chunk.get("object") == "chat.completion.done":  # Perplexity sends no [DONE]
                    self.scan.finished = True
                return note_usage(self.scan, chunk)
            if not start:
                break
            end = start
        return False

    def _read_usage(self, block: bytes) -> None:
        for chunk in _chunks_with(block, b'"usage":{', b'"usage": {'):
            if note_usage(self.scan, chunk):
                note_tier(self.scan, chunk)
                return

    def _read_error(self, block: bytes) -> None:
        if block.rfind(b"error") < 0:
            return
        if block.rfind(b'"error"') >= 0 and not _only_null_errors(block):
            for chunk in _chunks_with(block, b'"error"'):
                if note_error(self.scan, chunk):
                    return
        if _last_line(block, b"event:") in (b"event: error", b"event:error"):
            self.scan.error = self.scan.error or "error"


def event_text(event: bytes) -> Iterator[tuple[str, str]]:
    """The text of one event's chunk, with the place where it stands."""
    chunk = parse(sse.payload(event))
    if chunk is not None:
        yield from spoken_in_choices(chunk, "delta")


def plain_text(block: bytes) -> tuple[str, int] | None:
    """The text of a block in which each delta is plain content, and a bound of its size in bytes.

    None where a delta is anything else, or none is there: then each event must be read.
    """
    found = DELTA.findall(block)
    if not found:
        return None
    if b"" in found and found.count(b"") != block.count(b'"delta":{}'):
        return None
    joined = b"".join(found)
    if joined.find(b"\\") < 0:
        escaped = joined.replace(b'"', b"")
    else:
        escaped = b"".join([text[1:] for text in found])
    try:
        return orjson.loads(b'"' + escaped + b'"'), len(escaped)
    except orjson.JSONDecodeError:
        return None


def _chunks_with(block: bytes, *needles: bytes) -> Iterator[dict[str, object]]:
    """The chunks that hold one of the needles, the last first."""
    end = len(block)
    while (at := max(block.rfind(needle, 0, end) for needle in needles)) >= 0:
        start = block.rfind(b"\n\n", 0, at)
        start = start + 2 if start >= 0 else 0
        stop = block.find(b"\n\n", at)
        chunk = parse(sse.payload(block[start : stop if stop >= 0 else len(block)]))
        if chunk is not None:
            yield chunk
        end = start


def _last_line(block: bytes, needle: bytes) -> bytes:
    """The last line that has the needle, without the space around it."""
    at = block.rfind(needle)
    if at < 0:
        return b""
    end = block.find(b"\n", at)
    return block[block.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(block)].strip()


def _only_null_errors(block: bytes) -> bool:
    return block.count(b'"error"') == len(_ERROR_NULL.findall(block))
