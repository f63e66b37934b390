"""``farebox serve``: the server around the application."""

import asyncio
import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
import uvloop
from uvicorn.supervisors import Multiprocess

from proxy.app.application import Application
from proxy.app.demo import demo
from proxy.settings import Settings, load_settings
from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator

_KEEP_ALIVE_S = 75  # longer than the SDKs keep idle connections: the client closes first
_BACKLOG = 4096
_METRICS_FOLDER = "_FAREBOX_METRICS_FOLDER"  # from the parent process to its workers


def serve(settings: Settings, *, config_path: Path | None = None, demo: bool = False) -> int:
    """Serve until told to stop. Returns the exit code."""
    workers = settings.server.workers
    if workers > 1 and not demo:
        return _serve_workers(settings, config_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_here(settings, config_path, in_demo=demo))


async def _serve_here(settings: Settings, config_path: Path | None, *, in_demo: bool) -> int:
    async with _completed(settings, in_demo=in_demo) as complete:
        app = Application(
            complete,
            config_path=None if in_demo else config_path,
            environment=dict(os.environ),
        )
        server = uvicorn.Server(_uvicorn(app, complete))
        # What lives as long as the process is not searched for garbage again and again.
        gc.collect()
        gc.freeze()
        await server.serve()
        return 0 if server.started else 1


@contextlib.asynccontextmanager
async def _completed(settings: Settings, *, in_demo: bool) -> AsyncIterator[Settings]:
    """The settings; in a demo, completed and with the simulated provider running."""
    if not in_demo:
        yield settings
        return
    async with serve_simulator(create_app()) as url:
        shown = demo(settings, os.environ, f"{url}/v1")
        sys.stderr.write(shown.greeting())
        yield shown.settings


def _uvicorn(app: Application | str, settings: Settings, *, workers: int = 1) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=server.host,
        port=server.port,
        workers=workers,
        loop="none" if workers == 1 else "uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        proxy_headers=False,  # nobody here asks for the client's address
        access_log=False,  # Farebox logs a line a call itself
        server_header=False,  # the upstream's own go through
        date_header=False,
        log_config=None,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(server.shutdown_grace_s),
    )


# Several workers


def _serve_workers(settings: Settings, config_path: Path | None) -> int:
    """One process a worker, on one port and one ledger."""
    with tempfile.TemporaryDirectory(prefix="farebox-metrics-") as folder:
        os.environ["FAREBOX_CONFIG"] = str(config_path or "")
        os.environ[_METRICS_FOLDER] = folder
        config = _uvicorn(
            "proxy.app.serve:create_worker", settings, workers=settings.server.workers
        )
        socket = config.bind_socket()
        Multiprocess(config, sockets=[socket]).run()
    return 0


def create_worker() -> Application:
    """The application of one worker, from what the parent process left in the environment."""
    environment = dict(os.environ)
    path = Path(environment["FAREBOX_CONFIG"]) if environment.get("FAREBOX_CONFIG") else None
    settings = load_settings(path, environment)
    return Application(
        settings,
        config_path=path,
        metrics_folder=Path(environment[_METRICS_FOLDER]),
        environment=environment,
    )
