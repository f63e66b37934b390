"""Farebox in this process, on a socket of its own, over a ledger with something in it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from proxy.app.application import Application
from proxy.ledger.demo import ORGANISATION, TEAMS, DemoPlan, seed
from proxy.settings import Settings, TeamSettings
from proxy.store import migrate
from proxy.store.engine import Database

TOKEN = "an-admin-token-0123456789"


@dataclass(frozen=True, slots=True)
class Served:
    """Where it is, and what opens it."""

    url: str
    secrets: dict[str, str]  # of the made-up company's keys
    token: str = TOKEN


def demo_settings(database: str, **changed: Any) -> Settings:
    """A configuration that knows the made-up company."""
    teams = [TeamSettings(name=team.name, organisation=ORGANISATION) for team in TEAMS]
    return Settings(**{"database": database, "admin_token": TOKEN, "teams": teams, **changed})


def fill(database_url: str, calls: int, days: int = 40) -> dict[str, str]:
    """A migrated ledger with so many made-up calls (0: none); the secrets of its keys."""

    async def work() -> dict[str, str]:
        database = Database(database_url)
        await migrate.upgrade(database)
        made: dict[str, str] = {}
        if calls:
            plan = DemoPlan(days=days, calls=calls, seed=1, now_us=time.time_ns() // 1000)
            made = (await seed(database, plan, [], lambda _: None)).secrets
        await database.close()
        return made

    # In a thread: a browser's own event loop may be running in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


@contextlib.contextmanager
def served(folder: Path, calls: int, days: int = 40, **changed: Any) -> Iterator[Served]:
    """Farebox over such a ledger, until the block ends."""
    database = f"sqlite:///{folder}/farebox.db"
    secrets = fill(database, calls, days)
    with serving(demo_settings(database, **changed)) as url:
        yield Served(url, secrets)


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The application under uvicorn in a thread; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(Application(settings), log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("the server did not start")
                thread.join(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
