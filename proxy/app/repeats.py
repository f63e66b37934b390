"""A head that comes again: an SDK sends the same one for each call, but for the length of the body.

A connection remembers the last head that the parser took. One with the same bytes, with other digits
for its length, can only mean the same: so it is not parsed again, and what was worked out from it
(who calls, what goes upstream) needs not be worked out again either. Whatever differs goes through
the parser. Nothing is remembered beyond the connection: a head holds a key.
"""

import re
from typing import Final, cast

from proxy.gateway.inbound import Head, Scope
from proxy.gateway.upstreams.base import Headers

_MOST_DIGITS: Final = 15  # of a length
_LONGEST: Final = 16 * 1024  # bytes of a head that is remembered
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)(?=[ \t]*\r\n)", re.IGNORECASE)
_ONLY_ONCE: Final = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))


class KnownHead:
    """A head that was parsed, and what came of it."""

    __slots__ = ("_after", "_before", "_scope", "head")

    def __init__(self, before: bytes, after: bytes, scope: Scope, head: Head) -> None:
        self._before = before  # up to the digits of the length
        self._after = after  # from there to the end of the head
        self._scope = scope
        self.head = head

    def match(self, data: bytes) -> tuple[bytes, int] | None:
        """Where the data begins with this head: the digits of its length, and where the body begins."""
        before = self._before
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS + 1)
        if end < 0:
            return None
        digits = data[start:end]
        if not digits.isdigit() or not data.startswith(self._after, end):
            return None
        return digits, end + len(self._after)

    def scope(self, digits: bytes) -> Scope:
        """The scope of another request with this head, and a body so long."""
        scope = self._scope.copy()  # type: ignore[attr-defined] # it is a dict
        if digits != self.head.values[b"content-length"]:
            scope["headers"] = [
                header if header[0] != b"content-length" else (header[0], digits)
                for header in self.head.headers
            ]
        return cast("Scope", scope)


def known_head(data: bytes, scope: Scope, head: Head) -> KnownHead | None:
    """What is remembered of a request that begins with ``data``; None where it is not as usual.

    ``head`` is what the parser made of it, on a connection of HTTP/1.1 that stays open.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= _LONGEST or not _is_usual(head.headers):
        return None
    raw = data[: end + 4]
    length = _LENGTH.search(raw)
    # The parser counts as we do: a line for each header, and the one of the request.
    if length is None or raw.count(b"\n") != len(head.headers) + 2:
        return None
    start, stop = length.span(1)
    after = raw[stop:]
    if not after.startswith(b"\r\n"):  # white space behind the digits
        return None
    return KnownHead(raw[:start], after, scope, head)


def _is_usual(headers: Headers) -> bool:
    lengths = 0
    for name, value in headers:
        if name == b"content-length":
            lengths += 1
        elif name in _ONLY_ONCE or (name == b"connection" and value.lower() != b"keep-alive"):
            return False
    return lengths == 1
