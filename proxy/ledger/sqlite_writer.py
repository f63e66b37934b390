"""Writes batches to SQLite: one connection, one transaction a batch. No asyncio here; runs in a thread."""

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from msgspec import MsgspecError

from proxy.core.budgets import WindowKey, WindowState
from proxy.core.call import CallRecord, Outcome
from proxy.core.errors import LedgerError
from proxy.ledger import budget_rows, rows, statements
from proxy.ledger.base import (
    LedgerOptions,
    Operation,
    Release,
    Reserve,
    Settle,
    Unwritable,
    Written,
    call_id_of,
)
from proxy.ledger.batch import Batch, Ground, OpenHold, Settled, Writes, added_up, touched
from proxy.ledger.codec import decode_windows
from proxy.ledger.cover import Covers, Place
from proxy.ledger.rows import Row
from proxy.store.engine import Database, is_busy, prepare_sqlite

BUSY_S = 2.0  # how long the writers of other processes are waited for
WINDOWS_KNOWN = 50_000  # kept in memory between batches
_NAP_S = 0.0005
_WAL_PAGES_AT_MOST = 20_000  # the ledger's thread copies them back long before
_CHUNKS = (64, 16, 4, 1)  # rows of one insert: few sizes, so that few statements are kept
_COUNTED_AGAIN = 3  # how often a batch may find a window that is older than its budget

# What one operation's values can do to a whole batch: then each is tried on its own.
POISON = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    MsgspecError,
    OverflowError,
    TypeError,
    ValueError,
)

_windows_of = lru_cache(maxsize=4096)(decode_windows)


class Occupied(LedgerError):
    """Another process was writing, or something is to be done first that takes patience."""


class SqliteWriter:
    """One process's writer. Another process may write between its transactions, never within one."""

    def __init__(self, database: Database, options: LedgerOptions) -> None:
        self._database = database
        self._options = options
        self._covers = Covers()
        self._windows: dict[WindowKey, WindowState] = {}
        self._version = -1
        full = options.durability == "full"
        try:
            self._connection = self._connect()
            prepare_sqlite(self._connection, full=full)
            self._connection.execute("PRAGMA busy_timeout=0")
            self._connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES_AT_MOST}")
        except sqlite3.Error as error:
            raise LedgerError(f"the database {database.path} can't be opened: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def copy_log(self) -> None:
        """Copy what the log has back into the file, as far as nobody reads it. In another thread.

        It has a connection of its own, so that nobody waits for the disk; if it fails, the next will do.
        """
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._database.path,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )

    @property
    def covers(self) -> Covers:
        """The budgets when they were last seen."""
        return self._covers

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when it was last seen."""
        state = self._windows.get(key)
        return (state.spent_nano, state.held_nano) if state else (0, 0)

    def write(self, batch: Sequence[Operation], *, patience_s: float = BUSY_S) -> Written:
        """Commit a batch.

        Raises Occupied where it takes more patience than that, and LedgerError for whatever else goes
        wrong; nothing of it was written then.
        """
        began = time.perf_counter()
        try:
            writes = self._commit(batch, patience_s)
        except POISON as error:
            if len(batch) == 1:
                raise Unwritable(f"the ledger can't write this: {error}") from error
            return self._one_by_one(batch)
        except sqlite3.Error as error:
            failure = Occupied if is_busy(error) else LedgerError
            raise failure(f"the database says: {error}") from error
        took = time.perf_counter() - began
        return Written(writes.answers, bool(writes.holds_ended), took)

    def _one_by_one(self, batch: Sequence[Operation]) -> Written:
        written = Written([])
        for operation in batch:
            try:
                written.add(self.write([operation]))
            except LedgerError as error:
                written.add(Written([error]))
        return written

    # One transaction

    def _commit(self, batch: Sequence[Operation], patience_s: float) -> Writes:
        for _ in range(_COUNTED_AGAIN):
            self._begin(patience_s)
            try:
                writes, older = self._decide(batch)
                if not older:
                    self._apply(writes)
                    self._connection.execute("COMMIT")
                    return writes
                self._rollback()
            except BaseException:  # whatever it is, it goes on: but never with the lock in hand
                self._rollback()
                raise
            if not patience_s:
                raise Occupied("windows are to be counted first, which takes its time")
            work = partial(budget_rows.count_older, keys=[place.key for place in older])
            self._database.run_here(work)
        raise LedgerError("the budgets change faster than a batch can be written")

    def _begin(self, patience_s: float) -> None:
        give_up = time.monotonic() + patience_s
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() >= give_up:
                    raise
                time.sleep(_NAP_S)
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            # Another connection has written: what is known of the windows may be old.
            self._windows.clear()
            self._version = version
            self._reload()

    def _rollback(self) -> None:
        self._windows.clear()  # they have the sums of what was not written
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _reload(self) -> None:
        row = self._connection.execute(statements.GENERATION).fetchone()
        generation = row[0] if row else 0
        if generation != self._covers.generation:
            found = self._dicts(statements.BUDGETS)
            self._covers = Covers(map(budget_rows.stored_budget, found), generation)

    def _decide(self, batch: Sequence[Operation]) -> tuple[Writes, list[Place]]:
        """What to write; or the windows that must be counted first."""
        ground = Ground(windows=self._windows)
        self._load_holds(batch, ground)
        places = touched(batch, self._covers, ground)
        older = [place for place in places.values() if not place.counted]
        if older:
            return Writes(), older
        self._load_windows(places)
        return Batch(ground, self._covers, self._options).decide(batch), []

    def _load_holds(self, batch: Sequence[Operation], ground: Ground) -> None:
        execute = self._connection.execute
        holds = ground.holds
        ending, looked_at = _named(batch)
        if looked_at:
            found = execute(statements.full_holds(len(looked_at)), looked_at)
            for call_id, amount, windows, *rest in found:
                holds[call_id] = OpenHold(amount, _windows_of(windows), *rest)
        if ending:
            for call_id, amount, windows in execute(statements.end_holds(len(ending)), ending):
                holds.setdefault(call_id, OpenHold(amount, _windows_of(windows)))
        if len(holds) < len(ending) + len(looked_at):
            unheld = [call_id for call_id in (*ending, *looked_at) if call_id not in holds]
            self._load_settled(unheld, ground)

    def _load_settled(self, call_ids: list[str], ground: Ground) -> None:
        found = self._connection.execute(statements.outcomes(len(call_ids)), call_ids).fetchall()
        for call_id, outcome, model in found:
            record = self._record(call_id) if outcome == Outcome.LOST else None
            ground.settled[call_id] = Settled(record, model)

    def _record(self, call_id: str) -> CallRecord:
        (call,) = self._dicts(statements.CALL, call_id)
        return rows.record_from(call, self._dicts(statements.ATTEMPTS, call_id))

    def _dicts(self, query: str, *parameters: str) -> list[dict[str, Any]]:
        cursor = self._connection.execute(query, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor]

    def _load_windows(self, places: dict[WindowKey, Place]) -> None:
        windows = self._windows
        if len(windows) > WINDOWS_KNOWN:
            windows.clear()
        for key, place in places.items():
            if key not in windows:
                where = (key.budget_id, key.subject, key.starts_at)
                row = self._connection.execute(statements.WINDOW, where).fetchone()
                windows[key] = WindowState(key, place.budget, place.resets_at, *(row or ()))

    def _apply(self, writes: Writes) -> None:
        many = self._connection.executemany
        # The holds of settled calls went when they were loaded.
        if writes.lost:
            many(statements.DELETE_HOLD, [(call_id,) for call_id in writes.lost])
        if writes.holds_made:
            self._insert(statements.INSERT_HOLD, list(writes.holds_made.values()))
        if writes.holds_noted:
            many(statements.NOTE_HOLD, [(t, c) for c, t in writes.holds_noted.items()])
        if writes.holds_drawn:
            many(statements.DRAW_HOLD, [(left, c) for c, left in writes.holds_drawn.items()])
        if writes.windows:
            many(
                statements.PUT_WINDOW,
                [
                    (
                        k.budget_id,
                        k.subject,
                        k.starts_at,
                        w.spent_nano,
                        w.held_nano,
                        w.overdraft_nano,
                    )
                    for k, w in writes.windows.items()
                ],
            )
        if writes.calls_undone:
            undone = [(call_id,) for call_id in writes.calls_undone]
            many(statements.DELETE_ATTEMPTS, undone)
            many(statements.DELETE_CALL, undone)
        if writes.calls:
            self._insert(statements.INSERT_CALL, list(writes.calls.values()))
            self._insert(statements.INSERT_ATTEMPT, list(chain(*writes.attempts.values())))
            many(statements.ADD_ROLLUP, added_up(writes.rollups))
            many(statements.ADD_BY_PRINCIPAL, added_up(writes.by_principal))

    def _insert(self, statement: str, found: list[Row]) -> None:
        """Insert many rows in few steps: at each step the thread lets the event loop run first."""
        if len(found) == 1:
            self._connection.execute(statement, found[0])
            return
        start = 0
        for size in _CHUNKS:
            while len(found) - start >= size:
                chunk = chain.from_iterable(found[start : start + size])
                self._connection.execute(statements.for_rows(statement, size), tuple(chunk))
                start += size


def _named(batch: Sequence[Operation]) -> tuple[list[str], list[str]]:
    """The calls whose holds end, and those of which all that their holds say is wanted."""
    ending: list[str] = []
    looked_at: list[str] = []
    for operation in batch:
        if isinstance(operation, Settle):
            ending.append(operation.settlement.record.id)
            looked_at += operation.settlement.draws_on
        elif isinstance(operation, Release):
            ending.append(operation.call_id)
        elif not isinstance(operation, Reserve) or operation.forced:
            looked_at.append(call_id_of(operation))
    return ending, list(dict.fromkeys(looked_at))
