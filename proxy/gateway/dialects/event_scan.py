"""Watches an answer that comes in events, for any dialect whose streams need nothing hidden.

Bytes go through as they come. An event is parsed where its reader has marked it as one that says
something, or where its text must be counted: because the output could reach its cap, or, at the
end, because no usage was reported.
"""

from typing import Final

from proxy.core.calibration import AS_COUNTED, Calibration
from proxy.gateway.dialects.answer_reader import EventReader, Json, Texts
from proxy.gateway.dialects.base import Scan, Watch
from proxy.gateway.dialects.framing import Frame, Framing
from proxy.gateway.dialects.notes import note_flag, parse
from proxy.gateway.dialects.output_count import OutputCount

EVENT_TOO_LONG: Final = "event_too_long"  # one event was passed on unread
_MOST_UNHEARD: Final = 96 * 1024  # bytes of events that wait for their text to be counted
_OPEN_CAP: Final = 1.5  # vocabularies differ: see EventScanner


class EventScanner:
    """Scans a stream of events.

    The provider's own vocabulary may need fewer tokens than the one that we count by: an answer that
    it ended at the cap by itself must not be cut before. So the cap is watched with a margin, and
    what the hold pays for (``watch.paid_output``) without one.
    """

    __slots__ = (
        "_calibration",
        "_cap",
        "_finished",
        "_framing",
        "_output",
        "_reader",
        "_seen",
        "_unheard",
        "_unheard_bytes",
        "_watch",
        "cut",
    )

    def __init__(
        self,
        reader: EventReader,
        framing: Framing,
        watch: Watch,
        calibration: Calibration = AS_COUNTED,
    ) -> None:
        self.cut = False
        self._calibration = calibration
        self._reader = reader
        self._framing = framing
        self._watch = watch
        paid = watch.paid_output
        self._cap = _least(
            watch.output_cap, None if paid is None else min(paid, calibration.counted(paid))
        )
        self._output = OutputCount(watch.count)
        self._unheard: list[Frame] = []  # their text was not counted yet
        self._unheard_bytes = 0
        self._seen = 0
        self._finished = False

    @property
    def scan(self) -> Scan:
        """What was learned so far."""
        return self._reader.scan

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on; past the cap, the end of the answer instead, and then nothing."""
        before = self._seen
        self._seen += len(data)
        out = b"" if self.cut else data
        for frame in self._framing.feed(data):
            if self._take(frame):
                out = self._end_at(frame, data, before)
        return out

    def finish(self) -> bytes:
        """Read the rest; nothing is ever held back."""
        if not self._finished:
            self._finished = True
            for frame in self._framing.finish():
                self._take(frame)
            if self._framing.too_long:
                note_flag(self.scan, EVENT_TOO_LONG)
        return b""

    def count_output(self) -> int:
        """Tokens of the text relayed so far."""
        self._hear()
        return self._output.billed(self._calibration)

    def _take(self, frame: Frame) -> bool:
        """Read one event. True where the output runs past the cap with it."""
        reader = self._reader
        payload = frame.payload
        document = None
        if not payload.startswith(b"{"):
            reader.end(frame.kind or payload[:32].decode("utf-8", "replace").strip())
            return False
        for mark in reader.marks:
            if mark in payload:
                document = parse(payload)
                if document is not None:
                    reader.event(frame.kind, document)
                break
        if self.cut:
            return False
        if self._cap is None or not self._watch.ready():
            self._unheard.append(frame)
            self._unheard_bytes += len(payload)
            if self._unheard_bytes > _MOST_UNHEARD:
                self._hear()
            return False
        if self._unheard:
            self._hear()
        if document is None:
            document = parse(payload)
        return document is not None and self._crosses(reader.said(frame.kind, document))

    def _crosses(self, texts: Texts) -> bool:
        said = list(texts)
        if not said:
            return False
        assert self._cap is not None  # noqa: S101 - asked by the caller
        more = sum(len(text) if text.isascii() else 4 * len(text) for _, text in said)
        before = None
        if self._output.at_most + more > self._cap:
            before = self._output.copy()
        for place, text in said:
            self._output.add(place, text)
        if before is None or self._output.at_least() <= self._cap:
            return False
        self._output = before  # the client does not get this event
        return True

    def _end_at(self, frame: Frame, data: bytes, before: int) -> bytes:
        """What is left of the answer up to the event that crosses the cap, and an end for it.

        An event of which a part is with the client already is passed on to its end.
        """
        self.cut = self.scan.cut = True
        end = frame.start if frame.start >= before else frame.end
        if end == frame.end:
            self._add(frame)
        return data[: end - before] + self._reader.ending(
            frame.raw, self._output.billed(self._calibration)
        )

    def _hear(self) -> None:
        """Count the text of the events that wait for it."""
        for frame in self._unheard:
            self._add(frame)
        self._unheard.clear()
        self._unheard_bytes = 0

    def _add(self, frame: Frame) -> None:
        document: Json | None = parse(frame.payload)
        if document is not None:
            for place, text in self._reader.said(frame.kind, document):
                self._output.add(place, text)


def _least(cap: int | None, paid: int | None) -> int | None:
    watched = [int(cap * _OPEN_CAP)] if cap is not None else []
    if paid is not None:
        watched.append(paid)
    return min(watched, default=None)
