"""The answer that a connection fills: its bytes belong to it, whatever becomes of the connection."""

from typing import Protocol

from proxy.core.errors import UpstreamFailed, UpstreamUnreachable
from proxy.gateway.upstreams.answer import Answer, HeadLimits
from proxy.gateway.upstreams.base import Sink, UpstreamResponse


class Source(Protocol):
    """The connection, as far as its answer needs it."""

    async def wait_for_more(self) -> None:
        """Wait, at most for the idle time-out."""

    async def pour(self, sink: Sink) -> bool:
        """Let what comes go to the sink at once, until the end or a failure; False where it wants no more."""

    def taken(self) -> None:
        """The reader has all that came: let the upstream go on."""

    def fail(self, error: UpstreamFailed) -> None:
        """End the exchange, and with it the connection."""


class Http1Response(Answer, UpstreamResponse):
    """An answer. Its connection is given back by itself once the last byte has come.

    The answer to a HEAD, and a 204 or 304, has no body: ``read`` says ``b""`` at once, while
    ``content-length`` may well stand among the headers. Who passes it on must send the head as it
    is, and no body.
    """

    __slots__ = ("connection", "failure")

    def __init__(self, connection: Source, limits: HeadLimits, *, head_only: bool) -> None:
        super().__init__(limits, head_only=head_only)
        self.connection: Source | None = connection  # None: complete, failed or closed
        self.failure: UpstreamFailed | None = None

    @property
    def ready(self) -> bool:
        """Whether ``read`` would not wait."""
        return bool(self.chunks) or self.connection is None

    async def read(self) -> bytes:
        """Everything that has come since the last read; ``b""`` at the end.

        What came before a failure is handed over first.
        """
        while not self.chunks:
            connection = self.connection
            if connection is None:
                if self.failure is not None:
                    raise self.failure
                return b""
            await connection.wait_for_more()
        if self.connection is not None:
            self.connection.taken()
        return self.take()

    async def pipe(self, sink: Sink) -> bytes | None:
        """Hand over each piece as it comes: from the socket to the sink, with no task in between."""
        while True:
            connection = self.connection
            if self.chunks or connection is None:
                data = await self.read()  # which is here, and does not wait
                if self.over or not data:
                    return data
                if not sink(data):
                    return None
            elif not await connection.pour(sink):
                return None

    async def aclose(self) -> None:
        """Give up what has not come yet, and with it the connection. Idempotent."""
        connection = self.connection
        if connection is not None:
            connection.fail(UpstreamUnreachable("The answer was closed before its end."))
        self.chunks.clear()
