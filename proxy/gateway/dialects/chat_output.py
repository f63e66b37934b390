"""Counts the output of a stream of chat chunks, and finds the event with which it runs past a cap."""

from collections.abc import Callable
from typing import NamedTuple

from proxy.gateway.dialects import sse
from proxy.gateway.dialects.chat_chunks import event_text, plain_text
from proxy.gateway.dialects.output_count import OutputCount

_PLAIN = "0.content"  # where the text of nearly all streams stands
_FIRST_STRETCH = 4_096  # bytes that are read at first, where the cap may be near


class Crossed(NamedTuple):
    """The event, by its place in the block, with which the output runs past its cap."""

    start: int
    end: int
    before: OutputCount  # the output without it


class StreamOutput:
    """The output so far. ``plain``: there is one choice, so that events can be read many at once."""

    __slots__ = ("_output", "_plain", "_settled")

    def __init__(self, count: Callable[[str], int], *, plain: bool) -> None:
        self._output = OutputCount(count)
        self._plain = plain
        self._settled = True  # what was added is tokenized, as far as it can be

    @property
    def at_most(self) -> int:
        """No fewer than the tokens so far, without tokenizing."""
        return self._output.at_most

    def tokens(self) -> int:
        """The tokens so far."""
        self._settled = True
        return self._output.tokens()

    def add(self, block: bytes) -> None:
        """Take the text of whole events."""
        plain = plain_text(block) if self._plain else None
        if plain is not None:
            self._add_plain(*plain)
            return
        self._settled = False
        for event in sse.events(block):
            for place, text in event_text(event):
                self._output.add(place, text)

    def add_up_to(self, block: bytes, cap: int) -> Crossed | None:
        """Take the text of whole events up to the one that crosses the cap, which is taken too.

        Stretches that have fewer bytes than tokens are left need no closer look. So each text is
        tokenized once, and event by event only where the cap is within an event's reach.
        """
        at, long = 0, _FIRST_STRETCH
        while at < len(block):
            end = _end_of_events(block, at, long)
            stretch = block[at:end]
            plain = plain_text(stretch) if self._plain else None
            size = len(stretch) if plain is None else plain[1]
            crossed = None
            if plain is not None and self._fits(size, cap):
                self._add_plain(*plain)
            else:
                long = len(stretch) * self._left(cap) // size
                if plain is not None and _end_of_events(block, at, long) < end:
                    continue
                crossed = self._add_each(stretch, cap)
            if crossed is not None:
                return Crossed(at + crossed.start, at + crossed.end, crossed.before)
            at = end
            long = len(stretch) * self._left(cap) // max(size, 1)
        return None

    def take_back(self, crossed: Crossed) -> None:
        """The event that crossed the cap was not relayed: it does not count."""
        self._output = crossed.before

    def _left(self, cap: int) -> int:
        """Bytes that surely fit."""
        return max(0, cap - self._output.at_most)

    def _fits(self, size: int, cap: int) -> bool:
        if size > self._left(cap) and not self._settled:
            self.tokens()
        return size <= self._left(cap)

    def _add_plain(self, text: str, size: int) -> None:
        self._settled = False
        self._output.add(_PLAIN, text, size)

    def _add_each(self, events: bytes, cap: int) -> Crossed | None:
        start = 0
        for event in sse.events(events):
            before = self._add_event(event, cap)
            if before is not None:
                return Crossed(start, start + len(event), before)
            start += len(event)
        return None

    def _add_event(self, event: bytes, cap: int) -> OutputCount | None:
        """Take an event; where the output is past the cap with it, the output without it."""
        output, before = self._output, None
        self._settled = False
        for place, text in event_text(event):
            if before is None and output.at_most + 4 * len(text) > cap:
                before = output.copy()
            output.add(place, text)
        if before is None or output.at_most <= cap:
            return None
        self._settled = True
        return before if output.at_least() > cap else None


def _end_of_events(block: bytes, at: int, long: int) -> int:
    """Where the events end that begin at ``at`` and are at most so long together; at least one."""
    end = sse.boundary(block[at : at + long])
    return at + end if end else sse.first_boundary(block, at) or len(block)
