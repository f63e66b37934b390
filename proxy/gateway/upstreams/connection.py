"""One HTTP/1.1 connection to an upstream, as an asyncio protocol, and the answer that it fills.

A connection carries one exchange at a time. The moment an answer is complete its connection goes
back to the pool, often before the caller has read a byte of it: the answer owns its bytes, the
connection owns none. Nothing here sets a timer: ``deadline`` is a number (of the loop's clock) that
the pool looks at now and then.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proxy.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.answer import HeadLimits
from proxy.gateway.upstreams.base import Sink, Timeouts
from proxy.gateway.upstreams.response import Http1Response

NEVER: Final = float("inf")
_HIGH_WATER = 262_144  # bytes of an answer that wait for the reader before the upstream has to wait
_ONE_WRITE = 65_536  # a body up to here is copied behind its head, and leaves in the same packet
_SLICE = 262_144  # of a larger one


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection allows itself and its upstream."""

    timeouts: Timeouts
    head: HeadLimits


class Owner(Protocol):
    """Whoever keeps the connections."""

    def gone(self, connection: "Connection") -> None:
        """The connection's transport is closed and its socket released."""

    def give(self, connection: "Connection") -> None:
        """The connection is free and clean."""

    def discard(self, connection: "Connection") -> None:
        """The connection is closed, or about to be. Idempotent."""


class Connection(asyncio.Protocol):
    """A connection: idle, or in one exchange."""

    __slots__ = (
        "_buffered",
        "_limits",
        "_loop",
        "_owner",
        "_read_paused",
        "_response",
        "_sink",
        "_stop_upload",
        "_total",
        "_unsent",
        "_waiter",
        "_writable",
        "_write_paused",
        "answered",
        "closed",
        "deadline",
        "tls",
        "transport",
        "used",
    )

    transport: asyncio.Transport

    def __init__(self, owner: Owner, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._limits = limits
        self._loop = loop
        self.closed = False
        self.used = False  # has carried an exchange
        self.answered = False  # a byte of the present answer has come
        self.tls: ssl.SSLObject | None = None  # until its session is kept
        self.deadline = NEVER
        self._total = NEVER
        self._response: Http1Response | None = None
        self._waiter: asyncio.Future[None] | None = None  # of who reads the answer
        self._sink: Sink | None = None  # who takes what comes at once, while it waits for the end
        self._buffered = 0
        self._read_paused = False
        self._unsent: memoryview | None = None  # the rest of a large body
        self._stop_upload: Callable[[], object] | None = None
        self._writable: asyncio.Future[None] | None = None  # of who streams a body
        self._write_paused = False

    # Sending the request...

    def start(self, head: bytes, body: bytes, *, head_only: bool) -> Http1Response:
        """Begin an exchange: write the head, and as much of the body as the upstream takes now."""
        response = Http1Response(self, self._limits.head, head_only=head_only)
        timeouts = self._limits.timeouts
        now = self._loop.time()
        self._response = response
        self._total = now + timeouts.total
        self.deadline = min(now + timeouts.first_byte, self._total)
        self._buffered = 0
        self.answered = False
        if len(body) <= _ONE_WRITE:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._unsent = memoryview(body)
            self._write_slices(self._unsent)
        return response

    def _write_slices(self, unsent: memoryview) -> None:
        """Hand over a large body until the transport has enough of it."""
        while len(unsent) and not self._write_paused:
            self.transport.write(unsent[:_SLICE])
            unsent = unsent[_SLICE:]
        self._unsent = unsent if len(unsent) else None
        self.expect_progress()

    def upload(self, stop: Callable[[], object]) -> None:
        """A streamed body follows; ``stop`` is called where nobody wants the rest of it."""
        self._stop_upload = stop

    async def write(self, data: bytes) -> bool:
        """Send a piece of a streamed body once there is room; False where nobody wants it."""
        if self._write_paused and self._response is not None:
            self._writable = self._loop.create_future()
            await self._writable
        if self._response is None:
            return False
        self.transport.write(data)
        self.expect_progress()
        return True

    def uploaded(self) -> None:
        """The streamed body is out."""
        self._stop_upload = None
        self.expect_progress()

    def upload_broke_off(self) -> None:
        """The streamed body ended before its end: so does the exchange, unless it has already."""
        if self._stop_upload is not None:
            self._stop_upload = None
            self.fail(UpstreamUnreachable("The body of the request broke off."))

    def expect_progress(self) -> None:
        """The upstream's turn: to take what was written, or to answer."""
        first_byte = self._loop.time() + self._limits.timeouts.first_byte
        self.deadline = min(first_byte, self._total)

    def expect_body(self) -> None:
        """The caller's turn, to bring more of the body: only the total counts."""
        self.deadline = self._total

    def pause_writing(self) -> None:
        """Called by the transport: its buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Called by the transport: there is room again."""
        self._write_paused = False
        if self._unsent is not None:
            self._write_slices(self._unsent)
        self._wake_writer()

    def _wake_writer(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _stop_sending(self) -> bool:
        """Leave the rest of the request unsent; whether there was any."""
        stop, self._stop_upload = self._stop_upload, None
        if stop is None and self._unsent is None:
            return False
        self._unsent = None
        if stop is not None:
            stop()
        self._wake_writer()
        return True

    # Receiving the answer...

    async def wait(self) -> None:
        """Wait for the head, for more of the body, for its end or a failure.

        Where the waiting is cancelled, the exchange is given up and the connection closed.
        """
        response = self._response
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        except (asyncio.CancelledError, GeneratorExit):
            if self._waiter is waiter:
                self._waiter = None
            if response is not None and response.connection is self:
                self.fail(UpstreamUnreachable("The call was given up."))
            raise

    async def wait_for_more(self) -> None:
        """Wait, at most for the idle time-out."""
        self._expect_more()
        await self.wait()

    def _expect_more(self) -> None:
        """The upstream's turn, to send more of the answer."""
        idle = self._loop.time() + self._limits.timeouts.idle
        self.deadline = min(idle, self._total)

    async def pour(self, sink: Sink) -> bool:
        """Let what comes go to the sink at once, until the end or a failure; False where it wants no more."""
        self._sink = sink
        try:
            await self.wait_for_more()
            return self._sink is not None
        finally:
            self._sink = None

    def _hand_over(self, response: Http1Response, sink: Sink) -> None:
        self._expect_more()
        failed: Exception | None = None
        try:
            if sink(response.take()):
                return
        except Exception as error:  # noqa: BLE001 - its task's to handle, not the connection's
            failed = error
        self._sink = None
        self._wake(failed)

    def taken(self) -> None:
        """The reader has all that came: let the upstream go on."""
        self._buffered = 0
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        response = self._response
        if response is None:  # nobody asked: this must not become the answer to somebody
            self._close()
            return
        self.answered = True
        try:
            news = response.feed(data)
        except UpstreamFailed as refused:
            self.fail(refused)
            return
        if not news:
            return
        if response.over:
            self._release(response)
        else:
            if self._stop_upload is not None or self._unsent is not None:
                # It answers before it has the whole body: it does not want the rest.
                self._stop_sending()
                response.keep_alive = False
            if self._sink is not None:
                self._hand_over(response, self._sink)
                return
            self._buffered += len(data)
            if self._buffered > _HIGH_WATER and not self._read_paused:
                self._read_paused = True
                self.transport.pause_reading()
        self._wake()

    def _wake(self, failed: Exception | None = None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if failed is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(failed)

    # Ending the exchange...

    def _release(self, response: Http1Response) -> None:
        """The answer is all there: give the connection back, unless it is spoilt."""
        self._response = None
        response.connection = None
        self.used = True
        stopped = self._stop_sending()
        if (
            not response.keep_alive
            or stopped
            or self.closed
            or self.transport.get_write_buffer_size()
        ):
            self._close()
            return
        self.taken()
        self._owner.give(self)

    def fail(self, error: UpstreamFailed) -> None:
        """End the exchange, if there is one, with this error, and close the connection."""
        response, self._response = self._response, None
        if response is not None:
            response.connection = None
            response.failure = error
        self._stop_sending()
        self._close()
        self._wake()

    def _close(self) -> None:
        self.closed = True
        self._owner.discard(self)
        self.transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed: idle for too long, a slow upstream, or a slow reader."""
        response, timeouts = self._response, self._limits.timeouts
        if response is None:
            self._close()
            return
        if now >= self._total:
            limit = f"{timeouts.total:g} s (total)"
        elif self._waiter is None:  # its reader takes its time, which is not the upstream's fault
            self.deadline = self._total
            return
        elif response.status:
            limit = f"{timeouts.idle:g} s (idle)"
        else:
            limit = f"{timeouts.first_byte:g} s (first_byte)"
        self.fail(UpstreamTimeout(f"The upstream took longer than {limit}."))

    def connection_made(self, transport: Any) -> None:
        """Called by the transport."""
        self.transport = transport

    def eof_received(self) -> None:
        """Called by the transport, which closes itself afterwards."""
        response = self._response
        if response is not None and response.feed_eof():
            self._release(response)
            self._wake()
        else:
            self._broken(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport, once, at the very end."""
        self._broken(exc)
        self._owner.gone(self)

    def _broken(self, exc: Exception | None) -> None:
        response = self._response
        if response is None:
            if not self.closed:
                self._close()
            return
        where = "before the end of its answer" if response.status else "before its answer"
        why = f" ({exc})" if exc is not None and str(exc) else ""
        self.fail(UpstreamUnreachable(f"The upstream closed the connection {where}{why}."))
