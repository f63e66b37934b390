"""The databases that the queries run on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store import migrate
from proxy.store.engine import Database


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/farebox.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The same with its tables."""
    database = Database(database_url)
    await migrate.upgrade(database)
    yield database
    await database.close()
