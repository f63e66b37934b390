"""The ASGI application: the data path first, everything else through the framework."""

import asyncio
import gc
import os
from pathlib import Path

import structlog

from proxy.app.descriptors import make_room
from proxy.app.house import House
from proxy.core.errors import FareboxError
from proxy.gateway.inbound import Receive, Scope, Send
from proxy.gateway.paths import PREFIXES
from proxy.settings import Settings, load_settings

_log = structlog.get_logger("farebox")
# Between two looks at the youngest ones, each of which holds everything up for half a millisecond.
_NEW_OBJECTS = 5_000
_DATA_PATH = ("/farebox/v1/", *PREFIXES)


class Application:
    """Farebox as an ASGI application; the server's lifespan starts and stops it."""

    def __init__(
        self,
        settings: Settings,
        *,
        config_path: Path | None = None,
        metrics_folder: Path | None = None,
        environment: dict[str, str] | None = None,
        owns_process: bool = False,
    ) -> None:
        """``owns_process``: nothing else lives here, so that the garbage collector may be set for it."""
        self.house = House(settings, metrics_folder=metrics_folder)
        self.failure: FareboxError | None = None  # why it did not start
        self._config_path = config_path
        self._owns_process = owns_process
        self._environment = environment or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event: a request, or the server's start and stop."""
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if path.startswith(_DATA_PATH):
                await self.house.routes(scope, receive, send)
            elif path == "/ui" or path.startswith("/ui/"):
                await self.house.ui(scope, receive, send)
            else:
                await self.house.admin(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.house.realtime(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.house.start()
        except FareboxError as error:
            self.failure = error
            _log.error("not_started", problem=str(error))
            await self.house.abandon()
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        if self._config_path is not None:
            path, environment = self._config_path, self._environment
            self.house.follow(path, lambda: load_settings(path, environment))
        if self._owns_process:
            make_room()
            _spare_the_collector()
        pages = asyncio.create_task(self._make_pages())
        server = self.house.settings.server
        _log.info(
            "started",
            host=server.host,
            port=server.port,
            process=os.getpid(),
            ledger=self.house.settings.database_shown,
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pages
        await self.house.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _make_pages(self) -> None:
        try:
            await self.house.make_pages()
        except Exception:  # noqa: BLE001 - logged whole; calls are taken all the same
            _log.exception("pages_not_made")
        if self._owns_process:
            gc.freeze()  # they live as long as the process


def _spare_the_collector() -> None:
    """Keep the garbage collector from searching what lives as long as the process.

    A call makes some hundred objects and no cycles that outlive it: reference counts free them. With
    Python's own thresholds the collector would look through all the rest, again and again, for nothing:
    it took a third of a call. What is made from here on is still searched, less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 100)
