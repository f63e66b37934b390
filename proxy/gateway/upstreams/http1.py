"""The client of the hot path: HTTP/1.1 on asyncio protocols, with httptools as the parser.

What it costs is what it leaves out: no task, no timer and no lock per call, and a future only where
the bytes are not there yet. What it refuses stands in ``heads`` and ``answer``.
"""

import asyncio
from collections.abc import AsyncIterator

from proxy.core.errors import UpstreamFailed, UpstreamUnreachable
from proxy.gateway.upstreams.answer import HeadLimits
from proxy.gateway.upstreams.base import Timeouts, UpstreamClient, UpstreamRequest
from proxy.gateway.upstreams.connection import Connection, Limits
from proxy.gateway.upstreams.heads import TOO_LONG, TOO_SHORT, RequestRules
from proxy.gateway.upstreams.origin import parse_origin, tls_context
from proxy.gateway.upstreams.pool import ConnectionPool
from proxy.gateway.upstreams.response import Http1Response


class Http1Client(UpstreamClient):
    """One upstream's connections, of our own.

    Where a reused connection died before a byte of the answer came, the failure is ``stale``.
    An answer that comes before the whole body was sent ends the sending and, afterwards, the
    connection. Trailers are dropped, informational answers skipped. ``repr`` shows the connections.
    """

    __slots__ = ("_pool", "_rules")

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts = Timeouts(),
        max_connections: int = 1000,
        idle_expiry_s: float = 15.0,
        verify_tls: bool = True,
        ca_file: str | None = None,
        max_head_bytes: int = 65_536,
        max_headers: int = 256,
    ) -> None:
        origin = parse_origin(base_url)
        tls = None
        if origin.scheme == "https":
            tls = tls_context(verify=verify_tls, ca_file=ca_file)
            tls.set_alpn_protocols(["http/1.1"])
        self._rules = RequestRules(origin)
        self._pool = ConnectionPool(
            origin,
            Limits(timeouts, HeadLimits(max_head_bytes, max_headers)),
            max_connections=max_connections,
            idle_expiry_s=idle_expiry_s,
            tls=tls,
        )

    def __repr__(self) -> str:
        return f"<Http1Client {self._pool!r}>"

    async def send(self, request: UpstreamRequest) -> Http1Response:
        """Send the request and return at the head of the answer."""
        head, length = self._rules.write(request)
        connection = None if request.fresh else self._pool.take()
        if connection is None:
            connection = await self._pool.open(fresh=request.fresh)
        body = request.body
        head_only = request.method == b"HEAD"
        if not isinstance(body, bytes):
            return await _stream(connection, head, body, length, head_only=head_only)
        reused = connection.used
        response = connection.start(head, body, head_only=head_only)
        await connection.wait()
        if response.status:
            return response
        failure = response.failure or UpstreamUnreachable("The upstream's client was closed.")
        failure.stale = (
            reused and not connection.answered and isinstance(failure, UpstreamUnreachable)
        )
        raise failure

    async def aclose(self) -> None:
        """Close every connection and wait until they are gone; calls in flight fail. Idempotent."""
        await self._pool.aclose()


async def _stream(
    connection: Connection,
    head: bytes,
    body: AsyncIterator[bytes],
    length: int | None,
    *,
    head_only: bool,
) -> Http1Response:
    """Send a body that is still being made, in a task of its own, so that an answer can cut it off.

    What the body itself raises reaches the caller. The iterator is finished or closed in the end.
    """
    response = connection.start(head, b"", head_only=head_only)
    upload = asyncio.ensure_future(_upload(connection, body, length))
    connection.upload(upload.cancel)
    try:
        await connection.wait()
    finally:
        upload.cancel()
        await asyncio.wait((upload,))
    if response.status:
        return response
    if not upload.cancelled() and (error := upload.exception()) is not None:
        raise error
    raise response.failure or UpstreamUnreachable("The upstream's client was closed.")


async def _upload(connection: Connection, body: AsyncIterator[bytes], length: int | None) -> None:
    """Send the body; whatever goes wrong with it ends the exchange and is raised."""
    try:
        if await _write_pieces(connection, body, length):
            connection.uploaded()
    except UpstreamFailed as refused:
        connection.fail(refused)
        raise
    finally:
        connection.upload_broke_off()
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


async def _write_pieces(
    connection: Connection, body: AsyncIterator[bytes], length: int | None
) -> bool:
    """Write the body, chunked where its length was not said; False where nobody wants the rest."""
    left = length or 0
    connection.expect_body()
    async for piece in body:
        if not piece:
            continue
        data = piece
        if length is None:
            data = b"%x\r\n%b\r\n" % (len(piece), piece)
        else:
            left -= len(piece)
            if left < 0:
                raise UpstreamFailed(TOO_LONG)
        if not await connection.write(data):
            return False
        connection.expect_body()
    if left:
        raise UpstreamFailed(TOO_SHORT)
    return length is not None or await connection.write(b"0\r\n\r\n")
