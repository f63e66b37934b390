"""The framing of a JSON array that grows: Gemini's streams where nobody asked for server-sent events."""

import re
from functools import reduce
from typing import Final

from proxy.gateway.dialects import framing
from proxy.gateway.dialects.framing import Frame, Opened

_OPENING: Final = frozenset(b"[{")
# Up to the next byte that means something inside of an element: strings are stepped over whole.
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_OUTSIDE = re.compile(rb'[^"\[\]{}]*+')
_SEPARATORS: Final = b" \t\r\n,[]"
_DEEPEST: Final = 12  # brackets within brackets; answers have seven


def _within(deeper: bytes) -> bytes:
    """What may stand between two brackets: no bracket but in strings, and pairs of them."""
    string = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    return rb'(?:[^"\[\]{}]++|%b|[\[{]%b[\]}])*+' % (string, deeper)


# A whole element that is here already, in one step: what its parts mean is of no interest.
_ELEMENT = re.compile(
    rb"[\[{]%b[\]}]" % reduce(lambda d, _: _within(d), range(_DEEPEST), b""), re.DOTALL
)


class Elements:
    """Splits ``[{…},{…}]`` into its elements, each with what stands before it: ``[`` or ``,``."""

    def __init__(self) -> None:
        self.too_long = False
        self._held = bytearray()
        self._start = 0  # where in the stream the held bytes begin
        self._looked = 0  # up to here the held bytes were looked at
        self._depth = 0  # brackets open inside of the array
        self._in_string = False
        self._began = False  # the array's own bracket was seen
        self._skipping = False  # the element is longer than is kept

    @property
    def held(self) -> int:
        """The bytes that are kept of an element without an end so far."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The elements that end within these bytes."""
        self._held += data
        frames: list[Frame] = []
        held = self._held
        while self._looked < len(held):
            if self._in_string:
                if self._ends_string(held):
                    continue
                break
            at = self._looked = _OUTSIDE.match(held, self._looked).end()  # type: ignore[union-attr]
            if at == len(held):
                break
            if not self._depth and self._began and (whole := _ELEMENT.match(held, at)):
                frames += self._cut(whole.end())
                continue
            self._looked = at + 1
            if self._bracket(held[at]):
                frames += self._cut(at + 1)
        if len(held) > framing.LONGEST_EVENT:
            self.too_long = self._skipping = True
            kept = len(held) - self._looked  # at most half an escape
            self._start += len(held) - kept
            del held[: len(held) - kept]
            self._looked = 0
        return frames

    def finish(self) -> list[Frame]:
        """Nothing more: what has no end is no element."""
        self._held.clear()
        return []

    def opened(self, raw: bytes) -> Opened:
        """The element by itself; of server-sent events whose type does not tell, what one carries."""
        return Opened("", raw.lstrip(_SEPARATORS).removeprefix(b"data:").lstrip())

    def split(self, events: bytes) -> list[bytes]:
        """One is kept by itself."""
        return [events]

    def glance(self, data: bytes, marks: tuple[bytes, ...], last: tuple[bytes, ...]) -> None:
        """Where an element ends shows only from its beginning."""
        del data, marks, last

    def _ends_string(self, held: bytearray) -> bool:
        """Step over what there is of a string, and say whether that is all of it."""
        end = _IN_STRING.match(held, self._looked).end()  # type: ignore[union-attr]
        self._looked = end
        if end < len(held) and held[end] == ord('"'):
            self._looked = end + 1
            self._in_string = False
        return not self._in_string

    def _bracket(self, byte: int) -> bool:
        """Take one byte that means something. True where an element ends with it."""
        if byte == ord('"'):
            self._in_string = True
            return False
        if byte in _OPENING:
            if byte == ord("[") and not self._began:
                self._began = True  # the array itself
                return False
            self._began = True
            self._depth += 1
            return False
        if self._depth == 0:
            return False  # the array's end
        self._depth -= 1
        return self._depth == 0

    def _cut(self, end: int) -> list[Frame]:
        raw = bytes(self._held[:end])
        start = self._start
        del self._held[:end]
        self._start += end
        self._looked = 0
        if self._skipping:
            self._skipping = False
            return []
        return [Frame(start, raw)]
