"""Counts the output of a stream of chat chunks, and finds the event with which it runs past a cap."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from proxy.core.calibration import Calibration
from proxy.gateway.dialects import sse
from proxy.gateway.dialects.chat_chunks import event_text, plain_text
from proxy.gateway.dialects.output_count import OutputCount

_PLAIN = "0.content"  # where the text of nearly all streams stands
_FIRST_STRETCH = 4_096  # bytes that are read at first, where the cap may be near
_FIRST_BYTES_PER_TOKEN = 2  # until it is known; a guess that is too high is tokenized in vain
_CAUTION = 95  # percent of what likely fits


class Crossed(NamedTuple):
    """The event, by its place in the block, with which the output runs past its cap."""

    start: int
    end: int
    before: OutputCount  # the output without it


class StreamOutput:
    """The output so far. ``plain``: there is one choice, so that events can be read many at once."""

    __slots__ = ("_bytes", "_output", "_plain", "_tokens")

    def __init__(self, count: Callable[[str], int], *, plain: bool) -> None:
        self._output = OutputCount(count)
        self._plain = plain
        self._tokens: int | None = 0  # None: something was added since they were counted
        self._bytes = 0  # of the text so far, at most

    @property
    def at_most(self) -> int:
        """No fewer than the tokens so far, without tokenizing."""
        return self._output.at_most

    def tokens(self) -> int:
        """The tokens so far."""
        tokens = self._tokens = self._output.tokens()
        return tokens

    def billed(self, calibration: Calibration) -> int:
        """The tokens that are likely billed."""
        return self._output.billed(calibration)

    def add(self, block: bytes) -> None:
        """Take the text of whole events."""
        plain = plain_text(block) if self._plain else None
        if plain is not None:
            self._add_plain(*plain)
            return
        for event in sse.events(block):
            self._add_texts(event_text(event))

    def add_up_to(self, block: bytes, cap: int) -> Crossed | None:
        """Take the text of whole events up to the one that crosses the cap, which is taken too.

        No event of a stretch crosses the cap that has no more tokens up to its end. So each text is
        tokenized once, in a few stretches, and event by event only at the very cap.
        """
        at, long = 0, _FIRST_STRETCH
        while at < len(block):
            end = _end_of_events(block, at, long)
            stretch = block[at:end]
            plain = plain_text(stretch) if self._plain else None
            if plain is None or not self._take(plain, cap):
                long = len(stretch) // 2
                if plain is not None and _end_of_events(block, at, long) < end:
                    continue
                crossed = self._take_each(stretch, cap)
                if crossed is not None:
                    return Crossed(at + crossed.start, at + crossed.end, crossed.before)
            at = end
            if at < len(block):
                long = self._reach(cap, len(stretch), plain[1] if plain else len(stretch))
        return None

    def take_back(self, crossed: Crossed) -> None:
        """The event that crossed the cap was not relayed: it does not count."""
        self._output, self._tokens = crossed.before, None

    def _take(self, plain: tuple[str, int], cap: int) -> bool:
        """Add the text, unless it has too many tokens."""
        text, size = plain
        if self._output.at_most + size > cap and self._tokens is None:
            self.tokens()
        if self._output.at_most + size <= cap:
            self._add_plain(text, size)
            return True
        before = self._output.copy(), self._tokens, self._bytes
        self._add_plain(text, size)
        if self.tokens() <= cap:
            return True
        self._output, self._tokens, self._bytes = before
        return False

    def _take_each(self, events: bytes, cap: int) -> Crossed | None:
        start = 0
        for event in sse.events(events):
            texts = list(event_text(event))
            near = self._output.at_most + sum(4 * len(text) for _, text in texts) > cap
            before = self._output.copy() if near else None
            self._add_texts(texts)
            if before is not None and self._crossed(cap):
                return Crossed(start, start + len(event), before)
            start += len(event)
        return None

    def _reach(self, cap: int, long: int, size: int) -> int:
        """How many bytes of the stream likely fit, after so many that had so many of text."""
        if self._tokens is None and self._output.at_most + size > cap:
            self.tokens()
        if self._tokens:
            left = (cap - self._tokens) * self._bytes * _CAUTION // (self._tokens * 100)
        else:
            left = cap * _FIRST_BYTES_PER_TOKEN - self._bytes
        return long * max(left, 0) // max(size, 1)

    def _add_plain(self, text: str, size: int) -> None:
        self._tokens = None
        self._bytes += size
        self._output.add(_PLAIN, text, size)

    def _add_texts(self, texts: Iterable[tuple[str, str]]) -> None:
        self._tokens = None
        for place, text in texts:
            self._bytes += len(text)
            self._output.add(place, text)

    def _crossed(self, cap: int) -> bool:
        return self._output.at_most > cap and self._output.at_least() > cap


def _end_of_events(block: bytes, at: int, long: int) -> int:
    """Where the events end that begin at ``at`` and are at most so long together; at least one."""
    end = sse.boundary(block[at : at + long])
    return at + end if end else sse.first_boundary(block, at) or len(block)
