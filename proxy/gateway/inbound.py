"""One request as it arrives: its head, its bounded body, and the moment its client leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from itertools import chain
from typing import Any

from proxy.core.errors import HeadTooLarge, RequestTooLarge
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
        b"host",
        b"content-length",
        b"accept-encoding",
        b"expect",
        b"cookie",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"cf-connecting-ip",
        b"true-client-ip",
    }
)
_OWN_PREFIXES = (b"x-farebox-", b"x-forwarded-")
_WATCHED_AFTER_S = 0.02  # how late it may be noticed that a client has left
_IDENTITY = (b"accept-encoding", b"identity")


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


class Inbound:
    """A request of a client. ``headers`` are as they came, names in lower case."""

    __slots__ = (
        "_consumed",
        "_receive",
        "_watcher",
        "finished",
        "gone",
        "headers",
        "method",
        "path",
        "query",
        "values",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.values: dict[bytes, bytes] = dict(self.headers)  # the last of repeated ones
        self.gone = False  # the client left before it had its answer
        self.finished = False  # the last byte of the answer was given to the server
        self._receive = receive
        self._watcher: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._consumed: asyncio.Event | None = None  # a body that streams: all of it was taken

    def text(self, name: bytes) -> str:
        """A header's value, "" where it is absent."""
        return self.values.get(name, b"").decode("latin-1")

    def check_head(self, max_bytes: int) -> None:
        """Refuse a head that no client sends in good faith. Raises HeadTooLarge."""
        # As HTTP/2 counts: each header costs more than its letters.
        size = 32 * len(self.headers) + sum(map(len, chain.from_iterable(self.headers)))
        size += len(self.path) + len(self.query)
        if size > max_bytes:
            raise HeadTooLarge(
                f"The request's {len(self.headers)} headers and its address are {size} bytes long, "
                f"32 for each header included; at most {max_bytes} are taken "
                "(limits.max_header_bytes)."
            )

    def length(self) -> int | None:
        """The declared size of the body in bytes, where there is one."""
        declared = self.values.get(b"content-length")
        return int(declared) if declared and declared.isdigit() else None

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises RequestTooLarge as soon as it is known to be over ``limit`` bytes."""
        if (self.length() or 0) > limit:
            raise _too_large(limit)
        message = await self._next()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts = [body]
        size = len(body)
        while message.get("more_body"):
            message = await self._next()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
        return b"".join(parts)

    async def read_or_stream(self, limit: int, *, whole: bool) -> bytes | AsyncIterator[bytes]:
        """The whole body where it is needed or JSON or absent, else an iterator over it."""
        json = self.values.get(b"content-type", b"")[:16].lower() == b"application/json"
        empty = not self.length() and b"transfer-encoding" not in self.values
        if whole or json or empty:
            return await self.read(limit)
        self._consumed = asyncio.Event()
        return self._stream(self._consumed)

    async def _stream(self, consumed: asyncio.Event) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            more = message.get("more_body", False)
            if part := message.get("body", b""):
                yield part
        consumed.set()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            raise ClientLeft
        return message

    def watch(self, on_left: Callable[[], None]) -> None:
        """Set ``gone`` and call ``on_left`` when the client leaves before its answer is complete.

        Until ``unwatch``. It is looked for a moment later, which most calls don't live to see: so
        they need no task of their own for it.
        """
        loop = asyncio.get_running_loop()
        self._watcher = loop.call_later(_WATCHED_AFTER_S, self._start_watching, loop, on_left)

    def unwatch(self) -> None:
        """The call is over."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _start_watching(self, loop: asyncio.AbstractEventLoop, on_left: Callable[[], None]) -> None:
        self._watcher = loop.create_task(self._see_off(on_left))

    async def _see_off(self, on_left: Callable[[], None]) -> None:
        if self._consumed is not None:
            await self._consumed.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.finished:
            self.gone = True
            on_left()

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
        kept.append(_IDENTITY)
        kept += extra
        return kept


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The request body is larger than {limit} bytes. Send less, or raise limits.max_body_bytes."
    )
