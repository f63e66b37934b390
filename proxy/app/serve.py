"""``farebox serve``: the server around the application."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from proxy.app.application import Application
from proxy.app.demo import demo
from proxy.app.listening import environment, listen, listening, server_config
from proxy.app.workers import serve_workers
from proxy.core.errors import FareboxError
from proxy.settings import Settings
from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator


def serve(settings: Settings, *, config_path: Path | None = None, demo: bool = False) -> int:
    """Serve until told to stop. Returns the exit code; raises FareboxError where it can't start."""
    with contextlib.closing(listen(settings.server)) as listener:
        settings = listening(settings, listener)
        if settings.server.workers == 1 or demo:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve_here(settings, config_path, listener, in_demo=demo))
            return 0
    # Closed again: it has shown that nobody else is there, which a shared socket does not.
    return serve_workers(settings, config_path)


async def _serve_here(
    settings: Settings, config_path: Path | None, listener: socket.socket, *, in_demo: bool
) -> None:
    async with _completed(settings, in_demo=in_demo) as (complete, greet):
        app = Application(
            complete,
            config_path=None if in_demo else config_path,
            environment=environment(complete),
            owns_process=True,
        )
        server = _Server(server_config(app, complete), greet)
        try:
            await server.serve([listener])
        except SystemExit:
            raise app.failure or FareboxError("did not start; the log says why") from None


class _Server(uvicorn.Server):
    """uvicorn's, which says when it is ready, and does not die of the signal that it obeyed."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # else they are raised again now


@contextlib.asynccontextmanager
async def _completed(
    settings: Settings, *, in_demo: bool
) -> AsyncIterator[tuple[Settings, Callable[[], None]]]:
    """The settings, and what to do when all is ready. In a demo a simulated provider runs, too."""
    if not in_demo:
        yield settings, lambda: None
        return
    async with serve_simulator(create_app()) as url:
        shown = demo(settings, os.environ, f"{url}/v1")
        yield shown.settings, lambda: _write(shown.greeting())


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
