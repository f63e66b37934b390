"""How much text some events of a stream can hold at most, without reading them."""

import re
from typing import Final

_LEAST: Final = 8  # bytes of a part that is worth looking for

# A part does not end in the middle of a number or a word that only these two events have, nor begin so.
_ENDED = re.compile(rb'[^":,{\[\n]*\Z')
# Of random length, against who measures packets (OpenAI's).
_PADDING = re.compile(rb'"obfuscation":"[^"\\]*+"')
_BEGUN = re.compile(rb'\A[^":,}\]\n]*')


class EventBound:
    """Learns from two events what stands around the text of each, and is the same in all of them.

    Such a part holds bare quotes or the end of a line, and what is written inside of a string holds
    neither. So as often as it is there, so many bytes are no text.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: tuple[bytes, ...] = ()

    def learn(self, one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
        """Take two events, each as what stands before and after its text, quotes included."""
        parts = []
        for this, that in zip(one, other, strict=True):
            begin = _same(this, that)
            parts.append(_ENDED.sub(b"", this[:begin]))
            if begin < len(this):
                end = _same(this[begin:][::-1], that[begin:][::-1])
                parts.append(_BEGUN.sub(b"", this[len(this) - end :]))
        kept = {part for part in parts if len(part) >= _LEAST and _is_bare(part)}
        self._parts = tuple(sorted(kept, key=len, reverse=True))

    def most(self, data: bytes) -> int:
        """No less than the bytes of text in the data."""
        data = _PADDING.sub(b"", data)
        for part in self._parts:
            data = data.replace(part, b"\0")  # so that nothing is taken off twice
        return len(data)


def around(raw: bytes, written: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and after a text, as it is written in an event; None where that is in doubt."""
    raw = _PADDING.sub(b"", raw)
    quoted = b'"%b"' % written
    at = raw.find(quoted)
    if at < 0 or raw.find(quoted, at + 1) >= 0:
        return None
    end = at + len(quoted)
    return raw[: at + 1], raw[end - 1 :]


def _same(one: bytes, other: bytes) -> int:
    """The length of what both begin with."""
    most = min(len(one), len(other))
    return next((n for n in range(most) if one[n] != other[n]), most)


def _is_bare(part: bytes) -> bool:
    """Whether it can't stand inside of a string: a quote there has a backslash before it."""
    return b"\n" in part or any(
        byte == ord('"') and part[at] != ord("\\") for at, byte in enumerate(part[1:])
    )
