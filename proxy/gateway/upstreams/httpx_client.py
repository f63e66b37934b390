"""The adapter for httpx: outbound proxies and HTTP/2, and the second opinion of the contract tests.

It uses httpx's transport and leaves its client layer out, so that nothing is added to a request or
decoded in an answer, no redirect is followed, and no cookie or environment variable counts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from proxy.core.errors import (
    ConfigurationError,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.gateway.upstreams.base import (
    Headers,
    Timeouts,
    UpstreamClient,
    UpstreamRequest,
    UpstreamResponse,
)
from proxy.gateway.upstreams.heads import (
    TOO_LONG,
    TOO_SHORT,
    CheckedRequest,
    RequestRules,
    malformed,
    needs_length,
    read_answer_head,
)
from proxy.gateway.upstreams.origin import SOCKET_OPTIONS, parse_origin, tls_context

Closing = set[asyncio.Future[None]]
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2")
_BROKEN_OFF = ("Server disconnected", "peer closed connection", "Server closed the connection")


class HttpxClient(UpstreamClient):
    """One upstream's connections, kept by httpx.

    ``proxy`` is an outbound proxy's URL, with its credentials in it. ``transport`` replaces the
    network (tests). A connection that died while idle is noticed before it is used. A fresh one can't
    be asked for: where several died at once, the second attempt may find another; and one that broke
    within an answer's head counts as one that died. An answer that comes early is delivered once the
    body was sent, or the upstream has closed. Bytes that come together with the end of an answer and
    do not belong to it are not noticed (h11 keeps them).
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts = Timeouts(),
        max_connections: int = 1000,
        idle_expiry_s: float = 15.0,
        verify_tls: bool = True,
        ca_file: str | None = None,
        proxy: str | None = None,
        http2: bool = False,
        max_head_bytes: int = 65_536,
        max_headers: int = 256,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._origin = parse_origin(base_url)
        self._rules = RequestRules(self._origin)
        self._url = httpx.URL(
            scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port
        )
        self._timeouts = timeouts
        self._limits = (max_head_bytes, max_headers)
        self._closed = False
        self._closing: Closing = set()
        self._transport = transport or _transport(
            verify=tls_context(verify=verify_tls, ca_file=ca_file)
            if self._origin.scheme == "https"
            else False,
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=idle_expiry_s,
            ),
            proxy=proxy,
            http2=http2,
        )

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request and return at the head of the answer."""
        checked = self._rules.check(request)
        if self._closed:
            raise UpstreamUnreachable("The upstream's client is closed.", sent=False)
        total = asyncio.get_running_loop().time() + self._timeouts.total
        attempt = _Attempt(self._timeouts, total)
        try:
            async with attempt.timeout:
                answer = await self._transport.handle_async_request(
                    self._request(request, checked, attempt)
                )
        except TimeoutError as error:
            if not attempt.timeout.expired():  # the body's own
                raise
            raise attempt.too_late() from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            failure = _failure(error, sent=attempt.sent)
            failure.stale = (
                attempt.reused
                and isinstance(failure, UpstreamUnreachable)
                and isinstance(request.body, bytes)
            )
            raise failure from error
        response = HttpxResponse(answer, self._timeouts, total, self._closing)
        try:
            response.headers = self._read_head(answer)
        except UpstreamFailed:
            await response.aclose()
            raise
        return response

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._closing:
                await asyncio.wait(self._closing)
            await self._transport.aclose()

    def _request(
        self, request: UpstreamRequest, checked: CheckedRequest, attempt: "_Attempt"
    ) -> httpx.Request:
        headers = list(request.headers)
        if not checked.has_host:
            headers.insert(0, (b"host", self._origin.authority))
        if checked.length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        elif checked.declared is None and needs_length(request.method, checked.length):
            headers.append((b"content-length", b"%d" % checked.length))
        built = httpx.Request(
            "GET",  # httpx would put a method of the caller's into upper case
            self._url,
            headers=headers,
            stream=_Body(request.body, checked.length),
            extensions={
                "timeout": {"connect": self._timeouts.connect, "pool": self._timeouts.connect},
                "trace": attempt.trace,
            },
        )
        built.method = request.method.decode("ascii")
        built.url = _Url(self._url, checked.target)
        return built

    def _read_head(self, answer: httpx.Response) -> Headers:
        raw = answer.headers.raw
        max_bytes, max_headers = self._limits
        size = sum(len(name) + len(value) + 4 for name, value in raw)
        if size > max_bytes or len(raw) > max_headers:
            raise malformed(f"its head has more than {max_bytes} bytes or {max_headers} headers")
        if answer.status_code < 200:  # noqa: PLR2004 - 101 is the one informational that gets here
            raise malformed("it changes the protocol, which was not asked for")
        if answer.extensions.get("http_version", b"HTTP/1.1") not in _VERSIONS:
            raise malformed("its version is unknown")
        return read_answer_head(raw).headers


class HttpxResponse(UpstreamResponse):
    """An answer whose body httpx has not touched. The answer to a HEAD has no body."""

    __slots__ = (
        "_answer",
        "_closing",
        "_failure",
        "_iterator",
        "_timeouts",
        "_total",
        "headers",
        "status",
    )

    def __init__(
        self, answer: httpx.Response, timeouts: Timeouts, total: float, closing: Closing
    ) -> None:
        self.status = answer.status_code
        self.headers: Headers = []
        self._answer: httpx.Response | None = answer
        self._closing = closing
        self._timeouts = timeouts
        self._total = total
        self._failure: UpstreamFailed | None = None
        self._iterator = _stream(answer).__aiter__()

    over = False  # not known before it is read

    @property
    def ready(self) -> bool:
        """Whether ``read`` would not wait: not known either."""
        return self._answer is None

    async def read(self) -> bytes:
        """The next bytes as they came; ``b""`` at the end."""
        if self._failure is not None:
            raise self._failure
        if self._answer is None:
            return b""
        idle = asyncio.get_running_loop().time() + self._timeouts.idle
        try:
            async with asyncio.timeout_at(min(idle, self._total)):
                async for data in self._iterator:
                    if data:
                        return data
        except TimeoutError as error:
            limit = "total" if self._total <= idle else "idle"
            self._failure = _too_late(limit, self._timeouts)
            await self.aclose()
            raise self._failure from error
        except httpx.TransportError as error:
            self._failure = _failure(error, sent=True)
            await self.aclose()
            raise self._failure from error
        await self.aclose()
        return b""

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        answer, self._answer = self._answer, None
        if answer is not None:
            # httpcore's own shield does not hold against a task's cancellation: a slot would leak.
            closing = asyncio.ensure_future(_stream(answer).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)


class _Attempt:
    """One request on its way: whether it left, and until when its answer must have come."""

    __slots__ = ("_timeouts", "_total", "reused", "sent", "timeout")

    def __init__(self, timeouts: Timeouts, total: float) -> None:
        self._timeouts = timeouts
        self._total = total
        self.sent = False
        self.reused = True  # its connection, unless one is made for it
        self.timeout = asyncio.timeout_at(total)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The time to the first byte runs from the moment the connection is there."""
        if event.startswith("connection.connect_"):
            self.reused = False
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.sent = True
            first_byte = asyncio.get_running_loop().time() + self._timeouts.first_byte
            self.timeout.reschedule(min(first_byte, self._total))

    def too_late(self) -> UpstreamTimeout:
        when = self.timeout.when()
        limit = "total" if when is not None and when >= self._total else "first_byte"
        return _too_late(limit, self._timeouts, sent=self.sent)


class _Url(httpx.URL):
    """A URL whose path and query are sent as they were handed in, not normalised.

    The ``target`` extension would do that too, but it also reaches the request to an outbound proxy.
    """

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target


class _Body(httpx.AsyncByteStream):
    """A request's body, which keeps to the length that was said (None: chunked)."""

    __slots__ = ("_body", "_length")

    def __init__(self, body: bytes | AsyncIterator[bytes], length: int | None) -> None:
        self._body = body
        self._length = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        left = self._length or 0
        async for piece in self._body:
            left -= len(piece)
            if self._length is not None and left < 0:
                raise UpstreamFailed(TOO_LONG)
            yield piece
        if self._length is not None and left:
            raise UpstreamFailed(TOO_SHORT)


def _transport(
    *, verify: Any, limits: httpx.Limits, proxy: str | None, http2: bool
) -> httpx.AsyncHTTPTransport:
    try:
        return httpx.AsyncHTTPTransport(
            verify=verify,
            limits=limits,
            proxy=proxy,
            http2=http2,
            trust_env=False,
            socket_options=SOCKET_OPTIONS,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(f"upstream client httpx: {error}") from error


def _stream(answer: httpx.Response) -> httpx.AsyncByteStream:
    stream = answer.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport is not asynchronous")
    return stream


def _too_late(limit: str, timeouts: Timeouts, *, sent: bool = True) -> UpstreamTimeout:
    seconds = getattr(timeouts, limit)
    return UpstreamTimeout(f"The upstream took longer than {seconds:g} s ({limit}).", sent=sent)


def _failure(error: httpx.TransportError | httpx.InvalidURL, *, sent: bool) -> UpstreamFailed:
    """The one word of ours for what httpx raises."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(
            f"The upstream could not be connected to in time ({text}).", sent=sent
        )
    if isinstance(error, httpx.RemoteProtocolError) and not text.startswith(_BROKEN_OFF):
        return malformed(text)
    if isinstance(error, httpx.LocalProtocolError | httpx.InvalidURL):
        return UpstreamFailed(f"The request can't be forwarded: {text}.", sent=sent)
    return UpstreamUnreachable(f"The upstream could not be reached ({text}).", sent=sent)
