"""An ASGI application that calls do not wait for at the start.

The admin API and the web page, with what they are made of, take longer to load than all the rest of
Farebox. So they are made in a thread: at the first request to them, or as soon as calls are taken.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.gateway.inbound import Receive, Scope, Send

Asgi = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class Later:
    """Makes the application once, whoever asks first; who asks meanwhile waits for it."""

    def __init__(self, make: Callable[[], Asgi]) -> None:
        self._make = make
        self._made: Asgi | None = None
        self._making: asyncio.Task[Asgi] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to it."""
        await (self._made or await self.made())(scope, receive, send)

    async def made(self) -> Asgi:
        """The application, made by now. Raises what making it raised."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        # One who gives up waiting must not take it away from the others.
        self._made = await asyncio.shield(self._making)
        return self._made
