"""Databases with their tables. They are migrated once and copied: migrating takes longer than most tests."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.store import migrate
from proxy.store.engine import Database
from tests.postgres import new_database


async def make_tables(url: str) -> None:
    """Bring a database to the newest migration."""
    database = Database(url)
    await migrate.upgrade(database)
    await database.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with its tables and nothing in them, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "farebox.db"
    with ThreadPoolExecutor(1) as beside:  # whoever asks for it may be on an event loop
        beside.submit(asyncio.run, make_tables(f"sqlite:///{file}")).result()
    return file


@asynccontextmanager
async def with_tables(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[str]:
    """A database of the kind that a fixture's parameter names, with its tables and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), folder / "farebox.db")
        yield f"sqlite:///{folder}/farebox.db"
        return
    async with migrated_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@asynccontextmanager
async def migrated_database(server: str) -> AsyncIterator[str]:
    """A PostgreSQL database with its tables and nothing in them."""
    template = f"farebox_template_{os.getpid()}"
    async with new_database(server, template, lasting=True) as url:
        await make_tables(url)
    async with new_database(server, template=template) as url:
        yield url
