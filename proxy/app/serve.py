"""``farebox serve``: the server around the application."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import uvicorn
import uvloop
from uvicorn.supervisors import Multiprocess

from proxy.app.application import Application
from proxy.app.connection import Connection
from proxy.app.demo import demo
from proxy.core.errors import FareboxError
from proxy.settings import ServerSettings, Settings, load_settings
from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator

_KEEP_ALIVE_S = 75  # longer than the SDKs keep idle connections: the client closes first
_BACKLOG = 4096
_HEAD_IN_MEMORY = 4  # times limits.max_header_bytes: a refused head is read whole, for its key
_METRICS_FOLDER = "_FAREBOX_METRICS_FOLDER"  # from the parent process to its workers


def serve(settings: Settings, *, config_path: Path | None = None, demo: bool = False) -> int:
    """Serve until told to stop. Returns the exit code; raises FareboxError where it can't start."""
    with contextlib.closing(listen(settings.server)) as listener:
        settings = _listening(settings, listener)
        if settings.server.workers > 1 and not demo:
            return _serve_workers(settings, config_path, listener)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_here(settings, config_path, listener, in_demo=demo))
    return 0


def listen(server: ServerSettings) -> socket.socket:
    """The socket that clients connect to. Raises FareboxError where the address can't be had."""
    address = (server.host, server.port)
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name of both kinds (localhost) is listened to where most clients look first.
        families = {family for family, *_ in found}
        family = socket.AF_INET if socket.AF_INET in families else found[0][0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise FareboxError(
            f"can't listen on {server.host}:{server.port}: {error.strerror}. Stop what uses it, or "
            "choose another with --host and --port (server.host and server.port; 0 takes a free port)"
        ) from None


def server_config(
    app: Application | str, settings: Settings, *, workers: int = 1
) -> uvicorn.Config:
    """How uvicorn serves Farebox."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        loop="none" if workers == 1 else "uvloop",
        http=partial(  # type: ignore[arg-type] # what makes a protocol, like a class of it
            Connection, max_head_bytes=_HEAD_IN_MEMORY * settings.limits.max_header_bytes
        ),
        ws="none",
        interface="asgi3",
        lifespan="on",
        access_log=False,  # Farebox logs a line a call itself
        proxy_headers=False,  # the client's address is not used
        server_header=False,  # the upstream's own go through
        date_header=False,
        log_config=None,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.server.shutdown_grace_s),
    )


def _listening(settings: Settings, listener: socket.socket) -> Settings:
    """The settings with the port that was taken, where any was asked for."""
    server = settings.server.model_copy(update={"port": listener.getsockname()[1]})
    return settings.model_copy(update={"server": server})


def _environment(settings: Settings) -> dict[str, str]:
    """The environment with what the command line said, which a reload would not know of."""
    server = settings.server
    return dict(os.environ) | {
        "FAREBOX_SERVER__HOST": server.host,
        "FAREBOX_SERVER__PORT": str(server.port),
        "FAREBOX_SERVER__WORKERS": str(server.workers),
    }


# One process


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


async def _serve_here(
    settings: Settings, config_path: Path | None, listener: socket.socket, *, in_demo: bool
) -> None:
    async with _completed(settings, in_demo=in_demo) as (complete, greet):
        app = Application(
            complete,
            config_path=None if in_demo else config_path,
            environment=_environment(complete),
        )
        server = _Server(server_config(app, complete), greet)
        try:
            await server.serve([listener])
        except SystemExit:
            raise app.failure or FareboxError("did not start; the log says why") from None


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


# Several workers


def _serve_workers(settings: Settings, config_path: Path | None, listener: socket.socket) -> int:
    """One process a worker, on one port and one ledger."""
    with tempfile.TemporaryDirectory(prefix="farebox-metrics-") as folder:
        os.environ.update(_environment(settings))
        os.environ["FAREBOX_CONFIG"] = str(config_path or "")
        os.environ[_METRICS_FOLDER] = folder
        config = server_config(
            "proxy.app.serve:create_worker", settings, workers=settings.server.workers
        )
        workers = _Workers(config, [listener])
        workers.run()
        return workers.exit_code


class _Workers(Multiprocess):
    """uvicorn's: replaces a worker that died, stops all at a signal."""

    exit_code = 0

    def keep_subprocess_alive(self) -> None:
        """Replace the dead; where one could not even start, all stop."""
        super().keep_subprocess_alive()
        if self.should_exit.is_set():
            self.exit_code = 1

    def handle_hup(self) -> None:
        """Each worker reads the configuration anew, and keeps its own where that is wrong."""
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                os.kill(process.pid, signal.SIGHUP)


def create_worker() -> Application:
    """The application of one worker, from what the parent process left in the environment."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    environment = dict(os.environ)
    path = Path(environment["FAREBOX_CONFIG"]) if environment.get("FAREBOX_CONFIG") else None
    settings = load_settings(path, environment)
    return Application(
        settings,
        config_path=path,
        metrics_folder=Path(environment[_METRICS_FOLDER]),
        environment=environment,
    )


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold the port for ever: nobody else stops it."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
