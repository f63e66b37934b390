"""Fixtures of the end-to-end tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from proxy.store import migrate
from proxy.store.engine import Database
from tests.e2e.running import Running, running
from tests.postgres import new_database

Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger at the newest migration, to be copied."""
    path = tmp_path_factory.mktemp("template") / "farebox.db"

    async def make() -> None:
        database = Database(f"sqlite:///{path}")
        await migrate.upgrade(database)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where the replicas of a soak have their ledger: a file of their own, or an empty database."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    async with new_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def start(tmp_path: Path, migrated: Path) -> Start:
    """Starts Farebox: what it is called with are sections of the configuration to change."""

    def starting(**changes: Any) -> AbstractAsyncContextManager[Running]:
        return running(tmp_path, migrated, **changes)

    return starting


@pytest.fixture
async def run(start: Start) -> AsyncIterator[Running]:
    """Farebox with its usual configuration."""
    async with start() as it:
        yield it
