"""The socket that clients connect to, and how uvicorn serves what comes over it."""

import os
import socket
from functools import partial
from typing import Final

import uvicorn

from proxy.app.application import Application
from proxy.app.connection import Connection
from proxy.app.patience import Patience
from proxy.app.websocket import WebSocket
from proxy.core.errors import FareboxError
from proxy.settings import ServerSettings, Settings

_BACKLOG: Final = 4096
_PONG_WITHIN_S: Final = 60.0  # a client that waits for an upstream may not read for a while
_HEAD_IN_MEMORY: Final = (
    4  # times limits.max_header_bytes: a refused head is read whole, for its key
)


def listen(server: ServerSettings, *, shared: bool = False) -> socket.socket:
    """A socket that listens; ``shared`` with others of ours, among which the kernel spreads clients.

    Raises FareboxError where the address can't be had.
    """
    address = (server.host, server.port)
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name of both kinds (localhost) is listened to where most clients look first.
        families = {family for family, *_ in found}
        family = socket.AF_INET if socket.AF_INET in families else found[0][0]
        return socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        raise FareboxError(
            f"can't listen on {server.host}:{server.port}: {error.strerror}. Stop what uses it, or "
            "choose another with --host and --port (server.host and server.port; 0 takes a free port)"
        ) from None


def listening(settings: Settings, listener: socket.socket) -> Settings:
    """The settings with the port that was taken, where any was asked for."""
    server = settings.server.model_copy(update={"port": listener.getsockname()[1]})
    return settings.model_copy(update={"server": server})


def environment(settings: Settings) -> dict[str, str]:
    """The environment with what the command line said, which a reload would not know of."""
    server = settings.server
    return dict(os.environ) | {
        "FAREBOX_SERVER__HOST": server.host,
        "FAREBOX_SERVER__PORT": str(server.port),
        "FAREBOX_SERVER__WORKERS": str(server.workers),
    }


def server_config(
    app: Application | str, settings: Settings, *, workers: int = 1
) -> uvicorn.Config:
    """How uvicorn serves an application, or what makes one in each worker."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        loop="none" if workers == 1 else "uvloop",
        http=partial(  # type: ignore[arg-type] # what makes a protocol, like a class of it
            Connection,
            max_head_bytes=_HEAD_IN_MEMORY * settings.limits.max_header_bytes,
            patience=Patience(
                keep_alive_s=settings.server.keep_alive_s,
                head_s=settings.server.head_timeout_s,
                body_s=settings.server.body_timeout_s,
            ),
        ),
        ws=WebSocket,
        ws_max_size=settings.limits.max_body_bytes,
        ws_ping_timeout=_PONG_WITHIN_S,
        ws_per_message_deflate=False,  # audio does not get shorter
        interface="asgi3",
        lifespan="on",
        access_log=False,  # Farebox logs a line a call itself
        proxy_headers=False,  # the client's address is not used
        server_header=False,  # the upstream's own go through
        date_header=False,
        log_config=None,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.server.shutdown_grace_s),
    )
