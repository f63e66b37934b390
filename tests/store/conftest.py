"""The databases that the queries run on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store.engine import Database
from tests.migrated import with_tables
from tests.store.key_processes import clock, process, store

__all__ = ["clock", "process", "store"]


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with its tables, of each kind."""
    async with with_tables(request, tmp_path) as url:
        database = Database(url)
        yield database
        await database.close()
