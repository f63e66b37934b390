"""Where one event of a stream ends and the next begins. Incremental; nothing is rewritten.

A framing keeps no more than one unfinished event, and of a longer one than ``LONGEST_EVENT`` only
what it needs to see its end.
"""

import re
from abc import ABC, abstractmethod
from typing import Final, NamedTuple, Protocol

from proxy.gateway.dialects import sse

# Pictures come whole in one event, in base64.
LONGEST_EVENT: Final = 32 * 2**20
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\n|\r")


class Frame(NamedTuple):
    """One event: where it stood in the stream (bytes from its start), and what it carries."""

    start: int
    end: int
    raw: bytes
    kind: str  # the frame's own name for it, "" where it has none
    payload: bytes


class Framing(Protocol):
    """Splits one stream into events."""

    too_long: bool  # an event was longer than is kept, and was skipped

    def feed(self, data: bytes) -> list[Frame]:
        """The events that end within these bytes."""

    def finish(self) -> list[Frame]:
        """The last event, where the stream ended without an end for it."""


class _Delimited(ABC):
    """Events that end with a mark."""

    _mark: re.Pattern[bytes]
    _overlap: int  # bytes before the new ones in which a mark may begin

    def __init__(self) -> None:
        self.too_long = False
        self._held = bytearray()
        self._start = 0  # where in the stream the held bytes begin
        self._looked = 0  # no mark begins before this one of them
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame]:
        """The events that end within these bytes."""
        held = self._held
        held += data
        done = 0
        frames = []
        looked = max(0, self._looked - self._overlap)
        while match := self._mark.search(held, looked):
            looked = match.end()
            if self._skipping:
                self._skipping = False
            else:
                frames.append(self._frame(bytes(held[done:looked]), self._start + done))
            done = looked
        if done:
            del held[:done]
            self._start += done
        if len(held) > LONGEST_EVENT:
            self.too_long = self._skipping = True
            dropped = len(held) - self._overlap
            del held[:dropped]
            self._start += dropped
        self._looked = len(held)
        return frames

    def finish(self) -> list[Frame]:
        """The last event, where the stream ended without an end for it."""
        raw, self._held = bytes(self._held), bytearray()
        start = self._start
        self._start += len(raw)
        self._looked = 0
        return [self._frame(raw, start)] if raw.strip() and not self._skipping else []

    @abstractmethod
    def _frame(self, raw: bytes, start: int) -> Frame: ...


class EventStream(_Delimited):
    """Server-sent events."""

    _mark = _EMPTY_LINE
    _overlap = 3

    def _frame(self, raw: bytes, start: int) -> Frame:
        kind = ""
        if b"event:" in raw:
            names = [line[6:] for line in sse.lines(raw) if line.startswith(b"event:")]
            kind = names[-1].strip().decode("utf-8", "replace") if names else ""
        return Frame(start, start + len(raw), raw, kind, sse.payload(raw))


class Lines(_Delimited):
    """A JSON document a line (NDJSON)."""

    _mark = _LINE_END
    _overlap = 0

    def _frame(self, raw: bytes, start: int) -> Frame:
        return Frame(start, start + len(raw), raw, "", raw.strip())
