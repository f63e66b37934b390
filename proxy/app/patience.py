"""How long clients are waited for: with a head, with a body, with the next request.

Nothing here sets a timer for a request: a connection's ``deadline`` is a number (of the loop's clock)
that is looked at now and then, so that setting it costs nothing. It is noticed a tick late at most.
"""

import asyncio
from typing import Final, Protocol

NEVER: Final = float("inf")
_FINEST_TICK_S, _COARSEST_TICK_S = 0.005, 1.0


class Waiting(Protocol):
    """A connection that may keep us waiting."""

    deadline: float

    def expire(self, now: float) -> None:
        """The deadline has passed."""


class Patience:
    """The time-outs of a server's connections, in seconds, and the connections."""

    def __init__(self, *, keep_alive_s: float, head_s: float, body_s: float) -> None:
        self.keep_alive_s = keep_alive_s  # between two requests
        self.head_s = head_s  # from the first byte of a head to its last
        self.body_s = body_s  # for a part of a body worth waiting for
        self._tick_s = min(max(min(head_s, body_s) / 4, _FINEST_TICK_S), _COARSEST_TICK_S)
        self._connections: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        """Look at this one's deadline, too."""
        self._connections.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)

    def forget(self, connection: Waiting) -> None:
        """The connection is closed. Idempotent."""
        self._connections.discard(connection)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.expire(now)
        self._timer = None
        if self._connections:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)
