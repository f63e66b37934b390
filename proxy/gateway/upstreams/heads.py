"""What may stand in a head, in either direction. Both clients keep these rules.

Towards the upstream nothing is sent that could be read as more than one request; from it nothing
is taken whose end could be seen differently by someone else on the way (RFC 9112, 6.3 and 11.2).
"""

import re
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from msgspec import Struct

from proxy.core.errors import UpstreamFailed
from proxy.gateway.upstreams.base import Headers, UpstreamRequest
from proxy.gateway.upstreams.origin import Origin

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_IN_TARGET = bytes(range(0x21, 0x7F))
_IN_LINES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_MEMO_SIZE = 512  # names and paths come from clients: remember the usual ones, not all
_LONGEST_PATH = 128
_USUAL_METHODS = frozenset((b"POST", b"GET"))
_MOST_DIGITS = 18  # of a content-length: below 2**63

TOO_LONG = "The body is longer than its content-length."
TOO_SHORT = "The body is shorter than its content-length."

# What a header is to us.
_PLAIN: Final = 0
_HOST: Final = 1
_LENGTH: Final = 2
_OURS: Final = 3
_CODING: Final = 4
_CONNECTION: Final = 5
_HOP: Final = 6

_REQUEST_KINDS = {b"host": _HOST, b"content-length": _LENGTH} | dict.fromkeys(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"), _OURS
)
_REQUEST_KINDS[b"transfer-encoding"] = _OURS
_ANSWER_KINDS = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
} | dict.fromkeys(
    (
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    ),
    _HOP,
)


class CheckedRequest(NamedTuple):
    """A request that may be sent."""

    target: bytes  # with the base URL's prefix
    lines: bytes  # name: value, as handed in, with line ends between them
    has_host: bool
    declared: int | None  # the content-length handed in
    length: int | None  # what to send: None is chunked


class RequestRules:
    """Checks requests for one origin; knows the header names and the paths it has seen."""

    __slots__ = ("_kinds", "_origin", "_paths")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._kinds = dict(_REQUEST_KINDS)
        self._paths: dict[bytes, bytes] = {}  # with the base URL's prefix

    def check(self, request: UpstreamRequest) -> CheckedRequest:
        """The request's parts. Raises UpstreamFailed (not sent), never showing a value.

        Refused are: what is no token in a method or name, control characters anywhere, a target
        that is no path, headers of the connection itself, and a content-length that is repeated,
        no number, or not the body's.
        """
        has_host, declared = False, None
        lines = []
        kinds = self._kinds
        for name, value in request.headers:
            kind = kinds.get(name)
            if kind is None:
                kind = self._learn(name)
            if kind:
                if kind == _OURS or (kind == _HOST and has_host):
                    raise _not_sent(f"header {_shown(name)} is not the caller's to set")
                if kind == _HOST:
                    has_host = True
                else:
                    declared = _declared(value, declared)
            lines.append(name + b": " + value)
        block = _checked_block(lines)
        if request.method not in _USUAL_METHODS:
            _check_method(request.method)
        target = self._paths.get(request.target) or self._target(request.target)
        length = _body_length(request.body, declared)
        return CheckedRequest(target, block, has_host, declared, length)

    def write(self, request: UpstreamRequest) -> tuple[bytes, int | None]:
        """The whole head as bytes, and the body's length (None: chunked). Raises like ``check``."""
        written = request.written
        if written is not None and written.by is self and isinstance(request.body, bytes):
            size = len(request.body)
            return b"%bcontent-length: %d\r\n\r\n" % (written.head, size), size
        target, lines, has_host, declared, length = self.check(request)
        parts = [request.method + b" " + target + b" HTTP/1.1"]
        if not has_host:
            parts.append(b"host: " + self._origin.authority)
        if lines:
            parts.append(lines)
        if written is not None and declared is None and request.method == b"POST":
            written.by, written.head = self, b"\r\n".join([*parts, b""])
        if length is None:
            parts.append(b"transfer-encoding: chunked")
        elif declared is None and needs_length(request.method, length):
            parts.append(b"content-length: %d" % length)
        parts.append(b"\r\n")
        return b"\r\n".join(parts), length

    def _learn(self, name: bytes) -> int:
        if not _TOKEN.fullmatch(name):
            raise _not_sent(f"{_shown(name)} is no header name")
        kind = _REQUEST_KINDS.get(name.lower(), _PLAIN)
        if len(self._kinds) < _MEMO_SIZE:
            self._kinds[name] = kind
        return kind

    def _target(self, below: bytes) -> bytes:
        if below.translate(None, _IN_TARGET) or b"#" in below:
            raise _not_sent("the target holds a character that must be percent-encoded")
        if below and below[0] not in b"/?":
            raise _not_sent("the target does not begin with a slash")
        target = self._origin.target(below)
        short = len(below) <= _LONGEST_PATH and b"?" not in below  # a query may hold a secret
        if short and len(self._paths) < _MEMO_SIZE:
            self._paths[below] = target
        return target


class AnswerHead(Struct, frozen=True):
    """The headers of an answer, and what they say about its body."""

    headers: Headers  # end to end, names in lower case
    length: int | None
    chunked: bool
    connection: frozenset[bytes]  # the tokens of ``connection``


_KEEP_ALIVE = frozenset((b"keep-alive",))
_NO_TOKENS: frozenset[bytes] = frozenset()
_STATES = frozenset((b"close", b"keep-alive", b""))


def read_answer_head(raw: Headers) -> AnswerHead:
    """Split an answer's headers into the reader's and the connection's.

    Raises UpstreamFailed where the end of the body is in doubt.
    """
    headers: Headers = []
    length: int | None = None
    chunked = False
    connection = _NO_TOKENS
    for header in raw:
        name, value = header
        if not name.islower():
            name = name.lower()
            header = name, value  # noqa: PLW2901 - the same one, as it is passed on
        kind = _ANSWER_KINDS.get(name)
        if kind is None:
            headers.append(header)
        elif kind == _LENGTH:
            if length is not None:
                raise malformed("more than one content-length")
            length = _number(value.strip(b" \t"))
            headers.append(header)
        elif kind == _CODING:
            chunked = _is_chunked(value, again=chunked)
        elif kind == _CONNECTION:
            connection |= _tokens(value)
    if chunked and length is not None:
        raise malformed("transfer-encoding together with content-length")
    if connection and (named := connection - _STATES):
        headers = [header for header in headers if header[0] not in named]
    return AnswerHead(headers, length, chunked, connection)


# A head as nearly every server writes it. What differs in any way is read by the parser.
_VALUE = rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*+(?<![\t ]))?"
_USUAL = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: " + _VALUE + rb"\r\n)*+)\r\n"
)
_FIELD = re.compile(rb"([^:]++): ([^\r]++)\r\n")
_NOT_USUAL = frozenset(_ANSWER_KINDS) - {b"content-length", b"transfer-encoding", b"connection"}


class _LowerCase(dict[bytes, bytes]):
    """Names in lower case, by themselves: the usual ones are remembered."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if len(self) < _MEMO_SIZE:
            self[name] = lower
        return lower


_lower = _LowerCase()


def read_usual_head(head: bytes, most: int) -> tuple[int, AnswerHead] | None:
    """Status and headers of a whole head in which nothing is in doubt, with ``most`` headers; else None."""
    found = _USUAL.fullmatch(head)
    if found is None:
        return None
    headers = [(_lower[name], value) for name, value in _FIELD.findall(found[2])]
    values = dict(headers)
    if len(headers) > most or not _NOT_USUAL.isdisjoint(values):
        return None
    coding, length = values.get(b"transfer-encoding"), values.get(b"content-length")
    connection, tokens = values.get(b"connection"), _NO_TOKENS
    twice = len(values) != len(headers) and not (coding is length is connection is None)
    if twice or (coding is not None and (coding.lower() != b"chunked" or length is not None)):
        return None
    if length is not None and not (length.isdigit() and len(length) <= _MOST_DIGITS):
        return None
    if connection is not None:
        if connection.lower() != b"keep-alive":
            return None
        headers.remove((b"connection", connection))
        tokens = _KEEP_ALIVE
    if coding is not None:
        headers.remove((b"transfer-encoding", coding))
    size = None if length is None else int(length)
    return int(found[1]), AnswerHead(headers, size, coding is not None, tokens)


def needs_length(method: bytes, length: int) -> bool:
    """An empty body is worth a content-length only where the method lets one expect a body."""
    return length > 0 or method in (b"POST", b"PUT", b"PATCH")


def malformed(what: str) -> UpstreamFailed:
    """The error for an answer that is refused."""
    return UpstreamFailed(f"The upstream's answer is not valid HTTP: {what}.")


def _body_length(body: bytes | AsyncIterator[bytes], declared: int | None) -> int | None:
    if not isinstance(body, bytes):
        return declared
    if declared is not None and declared != len(body):
        raise _not_sent("content-length is not the length of the body")
    return len(body)


def _declared(value: bytes, before: int | None) -> int:
    if before is not None:
        raise _not_sent("more than one content-length")
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise _not_sent("content-length is no number")
    return int(value)


def _check_method(method: bytes) -> None:
    if not _TOKEN.fullmatch(method) or method == b"CONNECT":
        raise _not_sent(f"{_shown(method)} is no method to forward")


def _checked_block(lines: list[bytes]) -> bytes:
    """The lines with line ends between them, which are the only control characters there."""
    block = b"\r\n".join(lines)
    if block.translate(None, _IN_LINES) != b"\r\n" * max(len(lines) - 1, 0):
        raise _not_sent("a header value holds a control character")
    return block


def _is_chunked(value: bytes, *, again: bool) -> bool:
    if again or value.strip(b" \t").lower() != b"chunked":
        raise malformed("a transfer-encoding other than chunked")
    return True


def _number(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise malformed("content-length is no number")
    return int(value)


def _tokens(value: bytes) -> frozenset[bytes]:
    token = value.strip(b" \t").lower()
    if token == b"keep-alive":
        return _KEEP_ALIVE
    return frozenset(part.strip(b" \t") for part in token.split(b","))


def _not_sent(why: str) -> UpstreamFailed:
    return UpstreamFailed(f"The request can't be forwarded: {why}.", sent=False)


def _shown(name: bytes) -> str:
    return ascii(name[:40].decode("latin-1"))
