"""A sheet into the database, in one transaction: by the driver's own bulk paths.

Rows and totals go together, so that every total is equal to its rows at every commit, also where
somebody stops the command half-way.
"""

from typing import Self

import asyncpg
from sqlalchemy import Connection, Table, text

from proxy.core.errors import LedgerError
from proxy.ledger import partitions, statements
from proxy.ledger.budget_rows import BUDGET_LOCK
from proxy.ledger.demo.totals import Sheet
from proxy.ledger.rows import Row
from proxy.store.engine import Database
from proxy.store.schema import attempts, budget_windows, calls, rollups, rollups_by_principal

_MONTH_US = 28 * 86_400_000_000
_CACHE_KIB = 64 * 1024  # a sheet and the edges of the indexes: nothing is spilled before the commit
_TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'
AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'calls'::regclass)
"""  # months, and not the whole of calls: PostgreSQL itself looks at each month only
_ADDING = {
    rollups.name: statements.ADD_ROLLUP,
    rollups_by_principal.name: statements.ADD_BY_PRINCIPAL,
    budget_windows.name: statements.ADD_WINDOW,
}


async def prepare(database: Database, start_us: int, end_us: int) -> None:
    """Have a partition for each month of the time."""

    def make(connection: Connection) -> None:
        for at_us in (*range(start_us, end_us, _MONTH_US), end_us):
            partitions.ensure(connection, at_us)

    await database.run(make)


async def finish(database: Database) -> None:
    """Have PostgreSQL look at what came in. It does so by itself, but minutes later.

    Until then it takes each month for a few calls, and sorts all of them for a page of fifty.
    """
    if database.is_sqlite:
        return

    def look(connection: Connection) -> None:
        for name in connection.scalars(text(_TABLES)).all():
            connection.execute(text(f"ANALYZE {name}"))

    await database.run(look)


class Bulk:
    """One connection to write sheets with."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._postgres: asyncpg.Connection | None = None

    async def __aenter__(self) -> Self:
        if not self._database.is_sqlite:
            try:
                self._postgres = await asyncpg.connect(self._database.dsn)
            except (OSError, asyncpg.PostgresError) as error:
                raise LedgerError(f"the database does not answer: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._postgres is not None:
            await self._postgres.close()

    async def write(self, sheet: Sheet) -> None:
        """All of the sheet, or nothing. Raises LedgerError."""
        if self._postgres is None:
            await self._database.run(lambda connection: _insert(connection, sheet))
            return
        try:
            async with self._postgres.transaction():
                await _copy(self._postgres, sheet)
        except asyncpg.PostgresError as error:
            raise LedgerError(f"the database says: {error}") from error


def _sums(sheet: Sheet) -> tuple[tuple[Table, list[Row]], ...]:
    return (
        (rollups, [(*key, *counts) for key, counts in sheet.rollups.items()]),
        (rollups_by_principal, [(*key, *counts) for key, counts in sheet.by_principal.items()]),
        (budget_windows, [(*key, nano, 0, 0) for key, nano in sheet.windows.items()]),
    )


def _insert(connection: Connection, sheet: Sheet) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it is in a transaction
    cursor = driver.cursor()
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    cursor.executemany(statements.INSERT_CALL, sheet.calls)
    cursor.executemany(statements.INSERT_ATTEMPT, sheet.attempts)
    for table, found in _sums(sheet):
        cursor.executemany(_ADDING[table.name], found)


async def _copy(connection: asyncpg.Connection, sheet: Sheet) -> None:
    # No batch of a server is under way from here: windows and rollups are ours until the commit.
    await connection.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_LOCK)
    await connection.copy_records_to_table(calls.name, records=sheet.calls)
    await connection.copy_records_to_table(attempts.name, records=sheet.attempts)
    for table, found in _sums(sheet):
        if found:
            await _add(connection, table, found)


async def _add(connection: asyncpg.Connection, table: Table, found: list[Row]) -> None:
    name, staged = table.name, f"staged_{table.name}"
    await connection.execute(f"CREATE TEMP TABLE {staged} (LIKE {name}) ON COMMIT DROP")
    await connection.copy_records_to_table(staged, records=found)
    key = ", ".join(f'"{c.name}"' for c in table.primary_key)
    sums = ", ".join(
        f'"{c.name}" = {name}."{c.name}" + excluded."{c.name}"'
        for c in table.columns
        if not c.primary_key
    )
    await connection.execute(
        f"INSERT INTO {name} SELECT * FROM {staged} ON CONFLICT ({key}) DO UPDATE SET {sums}"  # noqa: S608 - names of our own tables
    )
