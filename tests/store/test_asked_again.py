"""Where PostgreSQL ends one of two transactions that wait for each other, that one is done again, unseen."""

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection, text

from proxy.store.engine import Database
from tests.postgres import new_database


async def test_of_two_that_lock_each_other_out_both_are_done(postgres_server: str) -> None:
    """A change of a budget beside another one never fails for it."""
    async with new_database(postgres_server) as url:
        database = Database(url)
        tries: list[int] = []

        def work(first: int, second: int) -> Callable[[Connection], int]:
            def locked(connection: Connection) -> int:
                tries.append(first)
                connection.execute(text(f"SELECT pg_advisory_xact_lock({first})"))
                while tries.count(first) == 1 and not _is_locked(connection, second):
                    connection.execute(text("SELECT pg_sleep(0.01)"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({second})"))
                return first

            return locked

        done = await asyncio.gather(database.run(work(1, 2)), database.run(work(2, 1)))

        assert list(done) == [1, 2]
        assert len(tries) == 3
        await database.close()


def _is_locked(connection: Connection, key: int) -> bool:
    query = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = :key"
    )
    return bool(connection.execute(query, {"key": key}).scalar())
