"""Watches an answer that comes in events, for any dialect whose streams need nothing hidden.

Bytes go through as they come. What has gone through is kept and read in blocks, when it is many
bytes, when the output could have reached its cap, and at the end; so a piece costs an append. An
event is parsed where its reader has marked it as one that says something, or where its text must be
counted: because the output could reach its cap, or, at the end, because no usage was reported.
"""

from collections.abc import Iterator
from typing import Final

import orjson

from proxy.core.calibration import AS_COUNTED, Calibration
from proxy.gateway.dialects.answer_reader import EventReader, Json, Texts
from proxy.gateway.dialects.base import Scan, Watch
from proxy.gateway.dialects.event_bound import EventBound, around
from proxy.gateway.dialects.framing import Frame, Framing
from proxy.gateway.dialects.notes import note_flag, parse
from proxy.gateway.dialects.output_count import OutputCount

EVENT_TOO_LONG: Final = "event_too_long"  # one event was passed on unread
_MOST_UNHEARD: Final = 96 * 1024  # bytes of events that wait to be read, and to be counted
_OPEN_CAP: Final = 1.5  # vocabularies differ: see EventScanner
_LATER: Final = 2_048  # bytes until it is asked again whether the vocabulary is there
_CLOSE: Final = 1_024  # tokens before the cap from which on text is counted and not only measured
_MOST_TRIED: Final = 8  # events that are looked at to learn the frame
_PER_PIECE: Final = 48  # bytes that a kept piece costs beside its own


class EventScanner:
    """Scans a stream of events.

    The provider's own vocabulary may need fewer tokens than the one that we count by: an answer that
    it ended at the cap by itself must not be cut before. So the cap is watched with a margin, and
    what the hold pays for (``watch.paid_output``) without one.
    """

    __slots__ = (
        "_bound",
        "_calibration",
        "_cap",
        "_counting",
        "_finished",
        "_framing",
        "_held",
        "_kept",
        "_last",
        "_looked",
        "_most",
        "_output",
        "_reader",
        "_room",
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
        self._kept: list[bytes] = []  # pieces that were not looked at yet
        self._looked = 0  # so many of them were looked at for how much text they can hold:
        self._most = 0  # so much at most
        self._held = 0  # bytes of those
        self._bound: EventBound | None = None
        self._last: tuple[bytes, ...] = getattr(reader, "last_marks", ())
        self._unheard: list[bytes] = []  # whole events of which the text was not counted yet
        self._unheard_bytes = 0
        self._seen = 0
        self._counting = False  # the text of what is read now is counted at once
        self._finished = False
        self._room = _MOST_UNHEARD  # bytes that may come until they are read
        if self._cap is not None:
            self._room = min(self._room, self._cap)  # each token has a byte

    @property
    def scan(self) -> Scan:
        """What was learned so far; reads what is kept."""
        self._read_kept()
        return self._reader.scan

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on; past the cap, the end of the answer instead, and then nothing."""
        self._kept.append(data)
        self._room -= len(data) + _PER_PIECE
        if self._room >= 0:
            return b"" if self.cut else data
        return self._look(data)

    def finish(self) -> bytes:
        """Read the rest; nothing is ever held back."""
        if not self._finished:
            self._read_kept()
            self._finished = True
            for frame in self._framing.finish():
                self._take(frame)
            if self._framing.too_long:
                note_flag(self._reader.scan, EVENT_TOO_LONG)
        return b""

    def count_output(self) -> int:
        """Tokens of the text relayed so far."""
        self._read_kept()
        self._hear()
        return self._output.billed(self._calibration)

    def _look(self, data: bytes) -> bytes:
        """Read what is kept, and count it where the output could be past its cap with ``data``."""
        out = b"" if self.cut else data
        near = self._may_cross()
        if not near and self._room >= 0:
            return out
        before = self._seen + sum(map(len, self._kept)) - len(data)
        if not near or not self._watch.ready():
            self._read_kept()
            if not self.cut:
                self._hear()  # so that what is left until the cap is known
        else:
            self._hear()
            self._counting = True
            for frame, last in self._frames():
                if self._take(frame, before, last=last):
                    out = self._end_at(frame, data, before)
            self._counting = False
        self._room = self._room_left()
        return out

    def _may_cross(self) -> bool:
        """Whether what is kept holds more text than tokens are left, if each were as short as it can be."""
        new = self._kept[self._looked :]
        fresh = b"".join(new)
        self._looked = len(self._kept)
        self._held += len(fresh) + _PER_PIECE * len(new)
        self._room = _MOST_UNHEARD - self._held - self._unheard_bytes
        if self._cap is None or self.cut:
            return False
        if self._bound is None:
            self._bound = self._learned(fresh)
        self._most += len(fresh) if self._bound is None else self._bound.most(fresh)
        left = self._cap - self._output.at_most - self._most - self._framing.held
        self._room = min(self._room, left)
        return left < 0

    def _learned(self, fresh: bytes) -> EventBound | None:
        """What stands around the text, from the last events that hold one text each."""
        found: list[tuple[bytes, bytes]] = []
        for raw in reversed(self._framing.split(fresh)[-_MOST_TRIED:-1]):
            kind, payload = self._framing.opened(raw)
            document = parse(payload)
            said = [*self._reader.said(kind, document)] if document else []
            if len(said) == 1 and (between := around(raw, _written(said[0][1]))):
                found.append(between)
            if len(found) == 2:  # noqa: PLR2004 - what is the same in both is the frame
                bound = EventBound()
                bound.learn(*found)
                return bound
        return None

    def _read_kept(self) -> None:
        """Read what is kept: it was relayed, and holds no more than there was room for."""
        if not self._kept:
            return
        reader, block = self._reader, self._joined()
        glance = self._framing.glance(block, reader.marks, self._last)
        if glance is None:
            for frame, last in self._apart(self._framing.feed(block)):
                self._take(frame, last=last)
            return
        for raw in glance.marked:
            self._note(*self._framing.opened(raw))
        if not self.cut and glance.block:
            self._unheard.append(glance.block)
            self._unheard_bytes += len(glance.block)

    def _frames(self) -> Iterator[tuple[Frame, bool]]:
        return self._apart(self._framing.feed(self._joined()))

    def _apart(self, frames: list[Frame]) -> Iterator[tuple[Frame, bool]]:
        """Each, and whether it may be the last one to say what only the last one says."""
        least = 0
        if len(frames) > 1 and self._last:
            marked = (i for i in range(len(frames) - 1, 0, -1) if _has(frames[i].raw, self._last))
            least = next(marked, 0)
        return ((frame, number >= least) for number, frame in enumerate(frames))

    def _joined(self) -> bytes:
        kept = self._kept
        block = kept[0] if len(kept) == 1 else b"".join(kept)
        kept.clear()
        self._seen += len(block)
        self._looked = self._most = self._held = 0
        return block

    def _room_left(self) -> int:
        """How many bytes may come: no more than tokens are left, and not more than may be kept."""
        room = _MOST_UNHEARD - self._unheard_bytes
        if self._cap is None or self.cut:
            return room
        left = self._cap - self._output.at_most
        if left < _CLOSE:
            if not self._watch.ready():
                return min(room, _LATER)  # an estimate must not cut an answer that keeps to its cap
            self._output.tokens()  # fewer than there are bytes
            left = self._cap - self._output.at_most
        return min(room, left - self._framing.held)

    def _take(self, frame: Frame, before: int | None = None, *, last: bool = True) -> bool:
        """Read one event. True where the output runs past the cap with it.

        What ends before ``before`` is with the client already.
        """
        kind, payload = self._framing.opened(frame.raw)
        document = self._note(kind, payload, last=last)
        if self.cut or not payload.startswith(b"{"):
            return False
        if not self._counting:
            self._unheard.append(frame.raw)
            self._unheard_bytes += len(frame.raw)
            return False
        document = document or parse(payload)
        if document is None:
            return False
        texts = self._reader.said(kind, document)
        if before is not None and frame.end > before:
            return self._crosses(texts)
        self._say(texts)
        return False

    def _note(self, kind: str, payload: bytes, *, last: bool = True) -> Json | None:
        """Read an event that is marked, or carries no object; None where there is no more to it than text."""
        if not payload.startswith(b"{"):
            self._reader.end(kind or payload[:32].decode("utf-8", "replace").strip())
            return None
        if not _has(payload, self._reader.marks) and not (last and _has(payload, self._last)):
            return None
        document = parse(payload)
        if document is not None:
            self._reader.event(kind, document)
        return document

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
        self.cut = self._reader.scan.cut = True
        end = frame.start if frame.start >= before else frame.end
        if end == frame.end:
            self._add(frame.raw)
        return data[: end - before] + self._reader.ending(
            frame.raw, self._output.billed(self._calibration)
        )

    def _hear(self) -> None:
        """Count the text of the events that wait for it."""
        for events in self._unheard:
            for raw in self._framing.split(events):
                self._add(raw)
        self._unheard.clear()
        self._unheard_bytes = 0

    def _add(self, raw: bytes) -> None:
        kind, payload = self._framing.opened(raw)
        document: Json | None = parse(payload)
        if document is not None:
            self._say(self._reader.said(kind, document))

    def _say(self, texts: Texts) -> None:
        for place, text in texts:
            self._output.add(place, text)


def _has(payload: bytes, marks: tuple[bytes, ...]) -> bool:
    """Whether it says one of these."""
    for mark in marks:  # noqa: SIM110 - for each event: a generator costs more than what it does
        if mark in payload:
            return True
    return False


def _least(cap: int | None, paid: int | None) -> int | None:
    watched = [int(cap * _OPEN_CAP)] if cap is not None else []
    if paid is not None:
        watched.append(paid)
    return min(watched, default=None)


def _written(text: str) -> bytes:
    """A text as it stands in JSON, without its quotes."""
    return orjson.dumps(text)[1:-1]
