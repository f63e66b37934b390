"""One request as it arrives: its head, its bounded body, and the moment its client leaves."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from itertools import chain
from typing import Any, Final, Protocol

from proxy.core.errors import HeadTooLarge, RequestTimeout, RequestTooLarge
from proxy.gateway.upstreams.base import Headers

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# What never goes upstream: the client's credentials, address and cookies, and our own headers.
CREDENTIALS = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
_NOT_FORWARDED = (
    HOP_BY_HOP
    | CREDENTIALS
    | {
        # An AWS signature is made of these as well; what it was made with is not the upstream's.
        b"x-amz-content-sha256",
        b"x-amz-date",
        b"x-amz-security-token",
        b"host",
        b"content-length",
        b"accept-encoding",
        b"expect",
        b"cookie",
        # Where a server obeys these, a call is not what its own method and path say here.
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-rewrite-url",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"cf-connecting-ip",
        b"true-client-ip",
        # The trace is ours and the client's; providers get to see it only where that is asked for.
        b"traceparent",
        b"tracestate",
        b"baggage",
    }
)
_OWN_PREFIXES = (b"x-farebox-", b"x-forwarded-")
EXCHANGE: Final = "farebox.exchange"  # where the scope has it
IDENTITY: Final = (b"accept-encoding", b"identity")  # an answer that is to be read is not packed


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


class Head:
    """The head of a request: ``headers`` are as they came, names in lower case.

    Several requests of one connection may share it, where they differ in nothing but the length of
    their bodies. ``derived`` is for what is worked out from it, so that it is worked out once.
    """

    __slots__ = (
        "derived",
        "headers",
        "method",
        "method_bytes",
        "old",
        "path",
        "query",
        "size",
        "values",
    )

    def __init__(
        self, method: str, path: bytes, query: bytes, headers: Headers, *, old: bool = False
    ) -> None:
        self.method = method
        self.method_bytes = method.encode()
        self.path = path
        self.query = query
        self.headers = headers
        self.old = old  # HTTP/1.0
        self.values: dict[bytes, bytes] = dict(headers)  # the last of repeated ones
        # As HTTP/2 counts: each header costs more than its letters.
        self.size = 32 * len(headers) + sum(map(len, chain.from_iterable(headers)))
        self.size += len(path) + len(query)
        self.derived: dict[Any, Any] = {}


class Exchange(Protocol):
    """One request at the server, beside what ASGI says of it."""

    head: Head
    declared: bytes  # the content-length, b"" where there is none

    def whole_body(self) -> bytes | None:
        """The request's body where all of it is here already; then it is received with that."""

    def when_left(self, callback: Callable[[], None] | None) -> None:
        """Call this, once, where the client leaves before its answer is complete, or has left by now."""

    # The answer. Nothing but ``room`` waits, and what is given to a client that has left is dropped.

    @property
    def crowded(self) -> bool:
        """Whether the client has not taken what was written: wait for ``room`` before there is more."""

    async def room(self) -> None:
        """Wait until the client has taken enough of what was written, or has left."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer."""

    def start(self, status: int, headers: Headers) -> None:
        """The head of the answer. It goes out with what follows it, or with ``flush``."""

    def flush(self) -> None:
        """Write the head, if it is still to be written."""

    def write(self, body: bytes) -> None:
        """A part of the answer's body."""

    def end(self, body: bytes) -> None:
        """The last part of the answer's body; it may be empty."""


class Inbound:
    """A request of a client."""

    __slots__ = (
        "_receive",
        "declared",
        "exchange",
        "finished",
        "gone",
        "head",
        "headers",
        "method",
        "path",
        "query",
        "values",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        exchange: Exchange = scope[EXCHANGE]
        head = exchange.head
        self.exchange = exchange
        self.head = head
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.values = head.values
        self.declared = exchange.declared
        self.gone = False  # the client left before it had its answer
        self.finished = False  # the last byte of the answer was given to the server
        self._receive = receive

    def text(self, name: bytes) -> str:
        """A header's value, "" where it is absent."""
        return self.values.get(name, b"").decode("latin-1")

    def check_head(self, max_bytes: int) -> None:
        """Refuse a head that no client sends in good faith. Raises HeadTooLarge."""
        size = self.head.size
        if size > max_bytes:
            raise HeadTooLarge(
                f"The request's {len(self.headers)} headers and its address are {size} bytes long, "
                f"32 for each header included; at most {max_bytes} are taken "
                "(limits.max_header_bytes)."
            )

    def length(self) -> int | None:
        """The declared size of the body in bytes, where there is one."""
        declared = self.declared
        return int(declared) if declared.isdigit() else None

    def whole(self, limit: int) -> bytes | None:
        """The whole body where it is here already, and within the limit; else ``read`` it."""
        declared = self.declared
        if not declared.isdigit() or int(declared) > limit:
            return None
        return self.exchange.whole_body()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises RequestTooLarge as soon as it is known to be over ``limit`` bytes."""
        if (self.length() or 0) > limit:
            raise too_large(limit)
        whole = self.exchange.whole_body()
        if whole is not None:
            if len(whole) > limit:
                raise too_large(limit)
            return whole
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._next()
            part = message.get("body", b"")
            more = message.get("more_body", False)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_or_stream(self, limit: int, *, whole: bool) -> bytes | AsyncIterator[bytes]:
        """The whole body where it is needed or JSON or absent, else an iterator over it."""
        if whole:
            return await self.read(limit)
        json = self.values.get(b"content-type", b"")[:16].lower() == b"application/json"
        empty = not self.length() and b"transfer-encoding" not in self.values
        if json or empty:
            return await self.read(limit)
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            more = message.get("more_body", False)
            if part := message.get("body", b""):
                yield part

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            if after_s := message.get("timed_out_s"):
                raise RequestTimeout(
                    f"No more of the request's body came for {after_s:g} s (server.body_timeout_s)."
                )
            self.gone = True
            raise ClientLeft
        return message

    def watch(self, on_left: Callable[[], None]) -> None:
        """Set ``gone`` and call ``on_left`` when the client leaves before its answer is complete.

        Until ``unwatch``; also where it has left by now.
        """

        def left() -> None:
            if not self.finished:
                self.gone = True
                on_left()

        self.exchange.when_left(left)

    def unwatch(self) -> None:
        """The call is over."""
        self.exchange.when_left(None)

    def forwarded_headers(self, extra: Headers) -> Headers:
        """The end-to-end headers for the upstream, in order, with ``extra`` (credentials) added."""
        named = self.values.get(b"connection", b"")
        dropped = _NOT_FORWARDED
        if named and named.lower() not in {b"keep-alive", b"close"}:
            dropped = dropped | {token.strip().lower() for token in named.split(b",")}
        kept = [
            header
            for header in self.headers
            if header[0] not in dropped and not header[0].startswith(_OWN_PREFIXES)
        ]
        kept.append(IDENTITY)
        kept += extra
        return kept


def too_large(limit: int) -> RequestTooLarge:
    """The refusal of a body that is too large."""
    return RequestTooLarge(
        f"The request body is larger than {limit} bytes. Send less, or raise limits.max_body_bytes."
    )
