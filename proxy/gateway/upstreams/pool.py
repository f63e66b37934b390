"""The connections to one upstream: the free ones, those who wait for one, and the time they have."""

import asyncio
import ssl
from collections import deque

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.connection import NEVER, Connection, Limits
from proxy.gateway.upstreams.origin import SOCKET_OPTIONS, Origin, ResumingContext

_FINEST_TICK_S, _COARSEST_TICK_S = 0.005, 0.5


class ConnectionPool:
    """Free connections are reused last in, first out; callers wait first come, first served.

    One timer for all: it ticks while there are connections, at a quarter of the shortest time-out
    (5 ms to 0.5 s), and closes what is past its deadline; so no time-out is set and cancelled per
    call. A time-out therefore comes up to a tick late. A free slot is handed to the one who waits
    longest, so that nobody overtakes.
    """

    __slots__ = (
        "_all",
        "_closed",
        "_gone",
        "_idle",
        "_idle_expiry_s",
        "_limits",
        "_live",
        "_loop",
        "_max_connections",
        "_opening",
        "_origin",
        "_tick_s",
        "_timer",
        "_tls",
        "_waiters",
    )

    def __init__(
        self,
        origin: Origin,
        limits: Limits,
        *,
        max_connections: int,
        idle_expiry_s: float,
        tls: ResumingContext | None,
    ) -> None:
        self._origin = origin
        self._limits = limits
        self._max_connections = max_connections
        self._idle_expiry_s = idle_expiry_s
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._opening = 0
        self._live: set[Connection] = set()  # until their transports have said goodbye
        self._waiters: deque[tuple[asyncio.Future[Connection | None], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._gone: asyncio.Future[None] | None = None
        times = limits.timeouts
        shortest = min(times.connect, times.first_byte, times.idle, times.total, idle_expiry_s)
        self._tick_s = min(max(shortest / 4, _FINEST_TICK_S), _COARSEST_TICK_S)

    def __repr__(self) -> str:
        active = len(self._all) - len(self._idle) + self._opening
        return f"[active: {active}, idle: {len(self._idle)}, waiting: {len(self._waiters)}]"

    # Getting a connection...

    def take(self) -> Connection | None:
        """A free connection, or None: then ``open`` has one."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
            self.discard(connection)
        return None

    async def open(self, *, fresh: bool = False) -> Connection:
        """A new connection, or, where there are too many, the next one that becomes free.

        ``fresh`` closes the oldest idle one rather than wait. Both waiting and connecting take at
        most the connect time-out. Raises UpstreamUnreachable and UpstreamTimeout, not sent.
        """
        while True:
            if self._closed:
                raise UpstreamUnreachable("The upstream's client is closed.", sent=False)
            if fresh and self._idle and self._full():
                oldest = self._idle.popleft()
                self._all.discard(oldest)
                oldest.fail(UpstreamUnreachable("Replaced."))
            if self._full():
                connection = await self._wait()
                if connection is None:  # a slot, counted in _opening already
                    return await self._connect()
                if not connection.closed:
                    return connection
                continue
            self._opening += 1
            return await self._connect()

    def _full(self) -> bool:
        return len(self._all) + self._opening >= self._max_connections

    async def _wait(self) -> Connection | None:
        loop = self._running()
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        entry = (waiter, loop.time() + self._limits.timeouts.connect)
        self._waiters.append(entry)
        self._start_ticking()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.remove(entry)
            elif waiter.exception() is None:  # given in the same moment: hand it on
                self._return(waiter.result())
            raise

    def _return(self, given: Connection | None) -> None:
        if given is None:
            self._opening -= 1
            self._slot_freed()
        elif not given.closed:
            self.give(given)

    async def _connect(self) -> Connection:
        """Connect in a slot that is counted in ``_opening``, and give the slot up on failure."""
        loop = self._running()
        timeout = self._limits.timeouts.connect
        connection: Connection | None = None
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, self._limits, loop),
                    self._origin.host,
                    self._origin.port,
                    ssl=self._tls,
                    server_hostname=self._origin.host if self._tls else None,
                )
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"The upstream could not be connected to within {timeout:g} s.", sent=False
            ) from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise UpstreamUnreachable(
                f"The upstream could not be connected to ({error}).", sent=False
            ) from error
        finally:
            self._opening -= 1
            if connection is None:
                self._slot_freed()
        if connection.closed or self._closed:
            connection.transport.abort()
            self._slot_freed()
            raise UpstreamUnreachable("The upstream closed the connection at once.", sent=False)
        connection.tls = connection.transport.get_extra_info("ssl_object")
        plain = connection.transport.get_extra_info("socket")
        for option in SOCKET_OPTIONS:  # TCP_NODELAY both event loops set themselves
            plain.setsockopt(*option)
        self._all.add(connection)
        self._live.add(connection)
        self._start_ticking()
        return connection

    # Giving it back...

    def give(self, connection: Connection) -> None:
        """The connection is free and clean: for who waits longest, else idle."""
        if (
            connection.tls is not None and self._tls is not None
        ):  # once: the tickets are here by now
            self._tls.session, connection.tls = connection.tls.session, None
        waiters = self._waiters
        while waiters:
            waiter, _ = waiters.popleft()
            if not waiter.done():
                connection.deadline = NEVER
                waiter.set_result(connection)
                return
        connection.deadline = self._running().time() + self._idle_expiry_s
        self._idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """The connection is closed, or about to be. Idempotent."""
        if connection not in self._all:
            return
        if connection.tls is not None and connection.used:
            self._keep_session(connection.tls)
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._slot_freed()

    def _keep_session(self, tls: ssl.SSLObject) -> None:
        """After an exchange: the tickets of TLS 1.3 come behind the handshake."""
        if self._tls is not None and tls.session is not None:
            self._tls.session = tls.session

    def _slot_freed(self) -> None:
        waiters = self._waiters
        while waiters:
            waiter, _ = waiters.popleft()
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)
                return

    def gone(self, connection: Connection) -> None:
        """The connection's transport is closed and its socket released."""
        self._live.discard(connection)
        if self._gone is not None and not self._live and not self._gone.done():
            self._gone.set_result(None)

    async def aclose(self) -> None:
        """Fail who waits and every exchange, and wait until each socket is released. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        closed = UpstreamUnreachable("The upstream's client was closed.", sent=False)
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(closed)
        for connection in tuple(self._all):
            connection.fail(UpstreamUnreachable("The upstream's client was closed."))
        if self._live:
            if self._gone is None:
                self._gone = self._running().create_future()
            await asyncio.shield(self._gone)

    # Time...

    def _start_ticking(self) -> None:
        if self._timer is None:
            self._timer = self._running().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        """Look once at every deadline."""
        now = self._running().time()
        for connection in [one for one in self._all if one.deadline <= now]:
            connection.expire(now)
        waiters = self._waiters
        while waiters and waiters[0][1] <= now:
            waiter, _ = waiters.popleft()
            if not waiter.done():
                waiter.set_exception(
                    UpstreamTimeout(
                        f"All {self._max_connections} connections to the upstream are busy.",
                        sent=False,
                    )
                )
        self._timer = None
        if self._all or waiters:
            self._start_ticking()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop
