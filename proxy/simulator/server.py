"""Serving the simulator on a real socket, with a hand on the connection itself."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.simulator.exchange import TRANSPORT, Receive, Scope, Send

_BACKLOG: Final = 2048
_STOP_S: Final = 2.0


class Application(Protocol):
    """What is served: an ASGI application with something to close."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

    def close(self) -> None:
        """Give back what it holds."""


class _Connection(HttpToolsProtocol):
    """uvicorn's own, which hands the application its transport: to reset it, or to see that it closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets this only on sockets that were made with the protocol's number in them.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


@asynccontextmanager
async def serve(app: Application, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address, such as ``http://127.0.0.1:40123``, without ``/v1``.

    It takes no signals and changes no logging, so that it can live beside another server. What is under
    way when the block ends is broken off, and billed as such.
    """
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        log_config=None,
        log_level=None,
        timeout_keep_alive=300,
    )
    config.load()
    state = ServerState()
    listener = socket.create_server((host, port), backlog=_BACKLOG)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(config, state, {}), sock=listener, backlog=_BACKLOG
    )
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.close()
        await _stop(state)
        app.close()


async def _stop(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.transport.abort()
    tasks = set(state.tasks)
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=_STOP_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
