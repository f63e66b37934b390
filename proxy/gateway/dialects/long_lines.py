"""Lines of a file that passes in pieces, of which no more is kept than one line."""

from typing import Final

LONGEST_LINE: Final = 16 * 1024 * 1024  # bytes


class LongLines:
    """Cuts what comes into lines, without their ends. None stands for one that is too long to be kept."""

    __slots__ = ("_line", "_too_long")

    def __init__(self) -> None:
        self._line = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that end within these bytes."""
        first, *more = data.split(b"\n")
        self._add(first)
        ended = []
        for part in more:
            ended.append(self.end())
            self._add(part)
        return ended

    def end(self) -> bytes | None:
        """The line that has no end so far, which ends here; it may be empty."""
        line = None if self._too_long else bytes(self._line)
        self._line.clear()
        self._too_long = False
        return line

    def _add(self, part: bytes) -> None:
        if len(self._line) + len(part) > LONGEST_LINE:
            self._too_long = True
            self._line.clear()
        if not self._too_long:
            self._line += part
