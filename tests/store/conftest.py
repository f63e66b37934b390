"""The databases that the queries run on."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from proxy.store import migrate
from proxy.store.engine import Database
from tests.store.key_processes import clock, process, store

__all__ = ["clock", "process", "store"]


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate.upgrade(database)
    await database.close()


# Migrated once a session and copied for each test: migrating takes longer than most tests do.


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with its tables."""
    file = tmp_path_factory.mktemp("migrated") / "farebox.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> str:
    """The name of a PostgreSQL database with its tables, to be copied."""
    name = f"template_{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        connection = await asyncpg.connect(f"{postgres_server}/postgres")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        await _migrate(f"{postgres_server}/{name}")

    asyncio.run(make())
    return name


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database; what needs one starts it, and nothing else does."""
    name: str = request.param
    request.getfixturevalue("migrated_file" if name == "sqlite" else "migrated_template")
    return name


@pytest.fixture
async def database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Database]:
    """An empty database with its tables, of each kind."""
    if kind == "sqlite":
        file = tmp_path / "farebox.db"
        shutil.copy(request.getfixturevalue("migrated_file"), file)
        database = Database(f"sqlite:///{file}")
        yield database
        await database.close()
        return
    server = request.getfixturevalue("postgres_server")
    name = f"farebox_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(f"{server}/postgres")
    template = request.getfixturevalue("migrated_template")
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    database = Database(f"{server}/{name}")
    yield database
    await database.close()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
