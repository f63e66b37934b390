"""A process may start before its database does."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.core.errors import LedgerError
from proxy.store.engine import Database, DatabaseAway
from tests.postgres import PostgresServer, new_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, since it is stopped and started."""
    server = new_server()
    yield server
    server.stop()
    shutil.rmtree(server.base)


async def test_a_database_that_comes_later_is_awaited(server: PostgresServer) -> None:
    """Asked again and again until it answers."""
    server.stop()
    database = Database(f"{server.url}/postgres")
    waiting = asyncio.create_task(database.awaited(60))
    await asyncio.sleep(0)
    await asyncio.to_thread(server.start)

    await waiting
    await database.close()


async def test_one_that_does_not_come_is_told(server: PostgresServer) -> None:
    server.stop()
    database = Database(f"{server.url}/postgres")

    with pytest.raises(DatabaseAway, match="does not answer"):
        await database.awaited(0)
    await database.close()
    server.start()


async def test_a_mistake_is_not_waited_for(server: PostgresServer) -> None:
    """A database that is not there will not be there in a minute."""
    database = Database(f"{server.url}/no_such_database")

    with pytest.raises(LedgerError, match="no_such_database"):
        await database.awaited(60)
    await database.close()


async def test_a_file_is_there(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/farebox.db")

    await database.awaited(0)
    await database.close()
