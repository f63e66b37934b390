"""Where one event of a stream ends and the next begins. Incremental; nothing is rewritten.

A framing keeps no more than one unfinished event, and of a longer one than ``LONGEST_EVENT`` only
what it needs to see its end.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple, Protocol

from proxy.gateway.dialects import sse

# Pictures come whole in one event, in base64.
LONGEST_EVENT: Final = 32 * 2**20
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\n|\r")
_NAMED_LINES: Final = 3  # line ends of an event of two lines: theirs, and the empty line's


class Frame(NamedTuple):
    """One event: where it begins in the stream, in bytes, and its own bytes, mark and all."""

    start: int
    raw: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + len(self.raw)


class Opened(NamedTuple):
    """What an event carries."""

    kind: str  # the frame's own name for it, "" where it has none
    payload: bytes


class Framing(Protocol):
    """Splits one stream into events."""

    too_long: bool  # an event was longer than is kept, and was skipped

    @property
    def held(self) -> int:
        """The bytes that are kept of an event without an end so far."""

    def feed(self, data: bytes) -> list[Frame]:
        """The events that end within these bytes."""

    def finish(self) -> list[Frame]:
        """The last event, where the stream ended without an end for it."""

    def opened(self, raw: bytes) -> Opened:
        """What one event carries."""

    def split(self, events: bytes) -> list[bytes]:
        """Whole events, one by one."""

    def glance(
        self, data: bytes, marks: tuple[bytes, ...], last: tuple[bytes, ...]
    ) -> "Glance | None":
        """As ``feed``, where what says something can be found without splitting all; None: it can't be."""


class Glance(NamedTuple):
    """A block of whole events, as seen in passing."""

    block: bytes
    # Those of them with one of the marks; of the last with one of ``last``; that carry no object.
    marked: list[bytes]


class _Delimited(ABC):
    """Events that end with a mark."""

    _mark: re.Pattern[bytes]
    _usual: ClassVar[bytes]  # the mark as it nearly always is
    _overlap: int  # bytes before the new ones in which a mark may begin

    def __init__(self) -> None:
        self.too_long = False
        self._held = bytearray()
        self._start = 0  # where in the stream the held bytes begin
        self._looked = 0  # no mark begins before this one of them
        self._skipping = False

    @property
    def held(self) -> int:
        """The bytes that are kept of an event without an end so far."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The events that end within these bytes."""
        held = self._held
        if not held and not self._skipping and b"\r" not in data:
            return self._feed_plain(data)
        held += data
        done = 0
        frames = []
        looked = max(0, self._looked - self._overlap)
        while match := self._mark.search(held, looked):
            looked = match.end()
            if self._skipping:
                self._skipping = False
            else:
                frames.append(Frame(self._start + done, bytes(held[done:looked])))
            done = looked
        if done:
            del held[:done]
            self._start += done
        self._bound()
        return frames

    def finish(self) -> list[Frame]:
        """The last event, where the stream ended without an end for it."""
        raw, self._held = bytes(self._held), bytearray()
        start = self._start
        self._start += len(raw)
        self._looked = 0
        return [Frame(start, raw)] if raw.strip() and not self._skipping else []

    def _feed_plain(self, data: bytes) -> list[Frame]:
        """The same, where nothing is held and every mark is the usual one."""
        mark = self._usual
        *whole, rest = data.split(mark)
        start, size = self._start, len(mark)
        frames = []
        for part in whole:
            frames.append(Frame(start, part + mark))
            start += len(part) + size
        self._start = start
        if rest:
            self._held += rest
            self._bound()
        return frames

    def split(self, events: bytes) -> list[bytes]:
        """Whole events, one by one."""
        mark = self._mark_of(events)
        if mark is not None:
            return [part + mark for part in events.split(mark) if part]
        ends = [match.end() for match in self._mark.finditer(events)]
        return [events[a:b] for a, b in zip([0, *ends], [*ends, len(events)], strict=True) if b > a]

    def glance(
        self, data: bytes, marks: tuple[bytes, ...], last: tuple[bytes, ...]
    ) -> Glance | None:
        """As ``feed``, without splitting what says nothing; None where events end in several ways."""
        if self._skipping:
            return None
        text = bytes(self._held) + data if self._held else data
        mark = self._mark_of(text)
        if mark is None:
            return None
        end = text.rfind(mark) + len(mark)
        end = 0 if end < len(mark) else end
        block, self._held = text[:end], bytearray(text[end:])
        self._start += end
        self._bound()
        starts = {at for at in self._without_object(block) if at < end}
        for wanted in marks:
            at = block.find(wanted)
            while at >= 0:
                starts.add(block.rfind(mark, 0, at))
                after = block.find(mark, at)
                at = block.find(wanted, after) if after >= 0 else -1
        starts |= {block.rfind(mark, 0, at) for m in last if (at := block.rfind(m)) >= 0}
        return Glance(block, [self._at(block, at, mark) for at in sorted(starts)])

    @staticmethod
    def _at(block: bytes, before: int, mark: bytes) -> bytes:
        start = before + len(mark) if before >= 0 else 0
        return block[start : block.find(mark, start) + len(mark)]

    def _bound(self) -> None:
        held = self._held
        if len(held) > LONGEST_EVENT:
            self.too_long = self._skipping = True
            dropped = len(held) - self._overlap
            del held[:dropped]
            self._start += dropped
        self._looked = len(held)

    @abstractmethod
    def opened(self, raw: bytes) -> Opened:
        """What one event carries."""

    @abstractmethod
    def _mark_of(self, events: bytes) -> bytes | None:
        """The mark with which all of these end; None where that is in doubt."""

    @abstractmethod
    def _without_object(self, block: bytes) -> Iterator[int]:
        """The ends of the events before those that may carry no object."""


class EventStream(_Delimited):
    """Server-sent events."""

    _mark = _EMPTY_LINE
    _usual = b"\n\n"
    _overlap = 3

    def opened(self, raw: bytes) -> Opened:
        """The last name that it gives itself; its data lines."""
        if raw.startswith(b"event: ") and raw.count(b"\n") == _NAMED_LINES and b"\r" not in raw:
            name, _, data = raw.partition(b"\n")
            if data.startswith(b"data: "):
                return Opened(name[7:].strip().decode("utf-8", "replace"), data[6:-2])
        kind = ""
        if b"event:" in raw:
            names = [line[6:] for line in sse.lines(raw) if line.startswith(b"event:")]
            kind = names[-1].strip().decode("utf-8", "replace") if names else ""
        return Opened(kind, sse.payload(raw))

    def _mark_of(self, events: bytes) -> bytes | None:
        """LF twice, or CR LF twice; never both."""
        returns = events.count(b"\r")
        if not returns:
            return b"\n\n"
        whole = events.count(b"\r\n")
        return b"\r\n\r\n" if whole == returns == events.count(b"\n") else None

    def _without_object(self, block: bytes) -> Iterator[int]:
        """Where a line of data begins with something else, such as ``[DONE]``."""
        lines = block.count(b"\ndata:")
        objects = block.count(b"\ndata: {") + block.count(b"\ndata:{")
        mark = b"\r\n\r\n" if b"\r" in block else b"\n\n"
        at = len(block)
        while lines > objects:  # from the end: there it usually is
            at = block.rfind(b"\ndata:", 0, at)
            lines -= 1
            if block[at + 6 : at + 8].lstrip(b" ")[:1] == b"{":
                objects -= 1
            else:
                yield block.rfind(mark, 0, at + 1)
        if block.startswith(b"data:") and not block.startswith((b"data: {", b"data:{")):
            yield -1


class Lines(_Delimited):
    """A JSON document a line (NDJSON)."""

    _mark = _LINE_END
    _usual = b"\n"
    _overlap = 0

    def opened(self, raw: bytes) -> Opened:
        """The line."""
        return Opened("", raw.strip())

    def _mark_of(self, events: bytes) -> bytes | None:
        """LF; a CR before it is blank space."""
        return None if events.count(b"\r") > events.count(b"\r\n") else b"\n"

    def _without_object(self, block: bytes) -> Iterator[int]:
        """None that says something."""
        del block
        return iter(())
