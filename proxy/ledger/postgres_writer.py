"""Writes batches to PostgreSQL: one connection, one transaction a batch, one statement a table.

Rows are locked in one order by everybody: holds by call id, then windows by key, then what is
inserted by key. Where PostgreSQL sees a deadlock all the same, the batch is tried again.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncpg
from msgspec import MsgspecError

from proxy.core.budgets import WindowKey, WindowState
from proxy.core.call import Outcome
from proxy.core.errors import LedgerError
from proxy.ledger import budget_rows, money_rows, rows
from proxy.ledger import postgres_statements as sql
from proxy.ledger.base import (
    DoubtfulError,
    LedgerOptions,
    Lose,
    Note,
    Operation,
    Release,
    Settle,
    Unwritable,
    Written,
    call_id_of,
    is_forced,
)
from proxy.ledger.batch import Batch, Ground, Settled, Writes, added_up, touched
from proxy.ledger.cover import Covers, Place
from proxy.store.engine import Database

CONNECTS_WITHIN_S = 0.7  # a call waits for it
OPENS_WITHIN_S = 5.0  # nobody does
COMMITS_WITHIN_S = 3.0
TRIES = 5  # of a batch that PostgreSQL asks for again
WINDOWS_KNOWN = 50_000

_SETTINGS = {
    "application_name": "farebox-ledger",
    # A writer that stands still in mid-transaction must not keep the others from the hot rows.
    "idle_in_transaction_session_timeout": "2000",
    "lock_timeout": "2500",
    "statement_timeout": "3000",
    "jit": "off",
}
_AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)
_POISON = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    MsgspecError,
    OverflowError,
    TypeError,
    ValueError,
)
_GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class PostgresWriter:
    """One process's writer."""

    def __init__(self, database: Database, options: LedgerOptions) -> None:
        self._database = database
        self._options = options
        self._connection: asyncpg.Connection[Any] | None = None
        self._covers = Covers()
        self._known: OrderedDict[WindowKey, tuple[int, int]] = OrderedDict()
        self.retries = 0

    async def open(self) -> None:
        """Connect. Raises LedgerError."""
        await self._connected(OPENS_WITHIN_S)

    async def close(self) -> None:
        """Close the connection; without a word where the server does not listen."""
        if self._connection is not None:
            with contextlib.suppress(*_GONE, asyncpg.PostgresError, TimeoutError):
                await self._connection.close(timeout=CONNECTS_WITHIN_S)
            self._drop()

    @property
    def covers(self) -> Covers:
        """The budgets when they were last seen."""
        return self._covers

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when it was last seen."""
        return self._known.get(key, (0, 0))

    async def write(self, batch: Sequence[Operation]) -> Written:
        """Commit a batch. Raises LedgerError where nothing of it was written, as far as is known."""
        began = time.perf_counter()
        try:
            writes = await self._commit_again(batch)
        except _POISON as error:
            if len(batch) == 1:
                raise Unwritable(f"the ledger can't write this: {error}") from error
            return await self._one_by_one(batch)
        took = time.perf_counter() - began
        return Written(writes.answers, bool(writes.holds_ended), took)

    async def _one_by_one(self, batch: Sequence[Operation]) -> Written:
        written = Written([])
        for operation in batch:
            try:
                written.add(await self.write([operation]))
            except LedgerError as error:
                written.add(Written([error]))
        return written

    # The connection

    async def _connected(self, within_s: float) -> "asyncpg.Connection[Any]":
        connection = self._connection
        if connection is None or connection.is_closed():
            try:
                connection = await asyncpg.connect(
                    self._database.dsn, timeout=within_s, server_settings=_SETTINGS
                )
            except (*_GONE, asyncpg.PostgresError, TimeoutError) as error:
                raise LedgerError(f"the database can't be reached: {error}") from error
            self._connection = connection
        return connection

    def _drop(self) -> None:
        # Without a word to the server, which may not be listening.
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    # One transaction

    async def _commit_again(self, batch: Sequence[Operation]) -> Writes:
        for attempt in range(TRIES):
            try:
                writes, older = await self._commit(batch)
            except _AGAIN:
                self.retries += 1
                if attempt + 1 == TRIES:
                    raise
                continue
            if not older:
                return writes
            work = partial(budget_rows.count_older, keys=[place.key for place in older])
            await self._database.run(work)
        raise LedgerError("the budgets change faster than a batch can be written")

    async def _commit(self, batch: Sequence[Operation]) -> tuple[Writes, list[Place]]:
        patient = all(operation.patient for operation in batch)
        connection = await self._connected(OPENS_WITHIN_S if patient else CONNECTS_WITHIN_S)
        committing = False
        try:
            async with asyncio.timeout(COMMITS_WITHIN_S):
                await connection.execute(sql.BEGIN)
                writes, older = await self._decide(connection, batch)
                if older:
                    await connection.execute("ROLLBACK")
                    return writes, older
                await self._apply(connection, writes)
                committing = True
                await connection.execute("COMMIT")
        except (*_GONE, TimeoutError) as error:
            self._drop()
            failure = DoubtfulError if committing else LedgerError
            raise failure(f"the database does not answer: {error!r}") from error
        except (asyncpg.PostgresError, *_POISON) as error:
            await self._roll_back(connection)
            if isinstance(error, (*_AGAIN, *_POISON)):
                raise
            raise LedgerError(f"the database says: {error}") from error
        except BaseException:  # cancelled, say: the connection is in the middle of something
            self._drop()
            raise
        self._remember(writes)
        return writes, []

    async def _roll_back(self, connection: "asyncpg.Connection[Any]") -> None:
        try:
            await connection.execute("ROLLBACK", timeout=CONNECTS_WITHIN_S)
        except (*_GONE, asyncpg.PostgresError, TimeoutError):
            self._drop()

    def _remember(self, writes: Writes) -> None:
        for key, state in writes.windows.items():
            self._known[key] = (state.spent_nano, state.held_nano)
            self._known.move_to_end(key)
        while len(self._known) > WINDOWS_KNOWN:
            self._known.popitem(last=False)

    async def _decide(
        self, connection: "asyncpg.Connection[Any]", batch: Sequence[Operation]
    ) -> tuple[Writes, list[Place]]:
        """What to write; or the windows that must be counted first."""
        ground = Ground()
        await self._load_holds(connection, batch, ground)
        places = touched(batch, self._covers, ground)
        if not await self._load_windows(connection, places, ground):
            self._covers = await self._read_covers(connection)
            places = touched(batch, self._covers, ground)
            await self._load_windows(connection, places, ground)
        older = [place for place in places.values() if not place.counted]
        if older:
            return Writes(), older
        await self._make_windows(connection, places, ground)
        return Batch(ground, self._covers, self._options).decide(batch), []

    async def _read_covers(self, connection: "asyncpg.Connection[Any]") -> Covers:
        generation = await connection.fetchval(sql.GENERATION) or 0
        found = await connection.fetch(sql.BUDGETS)
        return Covers([budget_rows.stored_budget(dict(row)) for row in found], generation)

    async def _load_holds(
        self, connection: "asyncpg.Connection[Any]", batch: Sequence[Operation], ground: Ground
    ) -> None:
        wanted = [
            call_id_of(o)
            for o in batch
            if isinstance(o, Settle | Release | Note | Lose) or is_forced(o)
        ]
        wanted += {id_ for o in batch if isinstance(o, Settle) for id_ in o.settlement.draws_on}
        if not wanted:
            return
        for row in await connection.fetch(sql.LOCK_HOLDS, wanted):
            ground.holds[row["call_id"]] = money_rows.open_hold(row)
        unheld = [call_id for call_id in wanted if call_id not in ground.holds]
        if not unheld:
            return
        for row in await connection.fetch(sql.OUTCOMES, unheld):
            record = None
            if row["outcome"] == Outcome.LOST:
                call = await connection.fetchrow(sql.CALL, row["id"])
                tries = await connection.fetch(sql.ATTEMPTS, row["id"])
                record = rows.record_from(call, tries)
            ground.settled[row["id"]] = Settled(record, row["model"])

    async def _load_windows(
        self,
        connection: "asyncpg.Connection[Any]",
        places: dict[WindowKey, Place],
        ground: Ground,
    ) -> bool:
        """Lock the windows that have rows; False where the budgets changed since they were read."""
        keys = sql.columns([(k.budget_id, k.subject, k.starts_at) for k in places], 3)
        found = await connection.fetch(sql.LOCK_WINDOWS, *keys)
        generation = found[0]["generation"] if found else 0
        if generation != self._covers.generation:
            return False
        for row in found:
            if row["budget_id"] is not None:
                key = WindowKey(row["budget_id"], row["subject"], row["starts_at"])
                place = places[key]
                ground.windows[key] = WindowState(
                    key,
                    place.budget,
                    place.resets_at,
                    row["spent_nano"],
                    row["held_nano"],
                    row["overdraft_nano"],
                )
        return True

    async def _make_windows(
        self,
        connection: "asyncpg.Connection[Any]",
        places: dict[WindowKey, Place],
        ground: Ground,
    ) -> None:
        missing = {key: place for key, place in places.items() if key not in ground.windows}
        if missing:
            keys = sql.columns([(k.budget_id, k.subject, k.starts_at) for k in missing], 3)
            await connection.execute(sql.MAKE_WINDOWS, *keys)
            await self._load_windows(connection, missing, ground)

    async def _apply(self, connection: "asyncpg.Connection[Any]", writes: Writes) -> None:
        execute = connection.execute
        if writes.holds_ended or writes.holds_made or writes.windows:
            windows = [
                (k.budget_id, k.subject, k.starts_at, w.spent_nano, w.held_nano, w.overdraft_nano)
                for k, w in writes.windows.items()
            ]
            made = sql.columns(list(writes.holds_made.values()), sql.HOLD_WIDTH)
            await execute(sql.WRITE_HOLDS, writes.holds_ended, *sql.columns(windows, 6), *made)
        if writes.holds_noted:
            await execute(sql.NOTE_HOLDS, *sql.columns(list(writes.holds_noted.items()), 2))
        if writes.holds_drawn:
            await execute(sql.DRAW_HOLDS, *sql.columns(list(writes.holds_drawn.items()), 2))
        if writes.calls_undone:
            await execute(sql.DELETE_ATTEMPTS, writes.calls_undone)
            await execute(sql.DELETE_CALLS, writes.calls_undone)
        if writes.calls:
            tries = [row for found in writes.attempts.values() for row in found]
            hours = sorted(added_up(writes.rollups))
            days = sorted(added_up(writes.by_principal))
            await execute(
                sql.WRITE_CALLS,
                *sql.columns(list(writes.calls.values()), len(rows.CALL_COLUMNS)),
                *sql.columns(tries, len(rows.ATTEMPT_COLUMNS)),
                *sql.columns(hours, len(rows.ROLLUP_KEY + rows.ROLLUP_COUNTS)),
                *sql.columns(days, len(rows.PRINCIPAL_KEY + rows.PRINCIPAL_COUNTS)),
            )
