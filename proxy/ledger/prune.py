"""Old calls and attempts are deleted; every sum that they are part of stays.

Rollups keep what the calls added to them. For each budget window, ``carried`` keeps what the deleted
calls had been charged, so that spent is still the sum of rows and carried, to the nano-dollar; windows
that have ended go at last, with what they carry.
Adjustments of deleted calls become one row with their sum. Open holds are no calls yet.

On PostgreSQL, months that are old as a whole are dropped as partitions (``prune_months``); everything
else goes in batches, each a short transaction.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from proxy.core.budgets import Window, WindowKey, window_bounds
from proxy.ledger.budget_rows import load_covers
from proxy.ledger.check_rows import PRUNED
from proxy.ledger.cover import Covers, StoredBudget
from proxy.ledger.history import lock_history
from proxy.ledger.money_rows import charges
from proxy.ledger.prune_space import free_bytes, row_bytes
from proxy.store.schema import (
    adjustments,
    attempts,
    budget_windows,
    calls,
    carried,
    generations,
)

BATCH = 2_000  # calls deleted in one transaction
US = 1_000_000
DAY_US = 86_400 * US
_WINDOWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Before which moment calls are deleted, and what kept it from being later ("" for nothing)."""

    before_us: int
    kept_by: str = ""

    @property
    def day(self) -> str:
        """The first day that is kept."""
        return datetime.fromtimestamp(self.before_us // US, UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be."""

    calls: int = 0
    attempts: int = 0
    adjustments: int = 0
    windows: int = 0  # of budgets, that have ended
    months: tuple[str, ...] = ()  # dropped as a whole
    bytes: int = 0  # given back, or to be filled anew

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(
            self.calls + other.calls,
            self.attempts + other.attempts,
            self.adjustments + other.adjustments,
            self.windows + other.windows,
            self.months + other.months,
            self.bytes + other.bytes,
        )


def cut(budgets: Iterable[StoredBudget], older_than_us: int, now_us: int) -> Cut:
    """Whole days of UTC that are older than asked, and of no window that is still current.

    A window's calls are what it is counted from when its budget changes; only a ``total`` would keep
    them for ever. The last whole day stays, for settlements that come late and may come twice.
    """
    found = Cut(_midnight(now_us - older_than_us))
    yesterday = _midnight(now_us - DAY_US)
    if yesterday < found.before_us:
        found = Cut(yesterday, "the last day is kept")
    for budget in (stored.budget for stored in budgets):
        if budget.window is not Window.TOTAL:
            starts_at, _ = window_bounds(budget.window, budget.timezone, now_us)
            if starts_at * US < found.before_us:
                why = f"the {budget.window} of budget {budget.id} is still current"
                found = Cut(_midnight(starts_at * US), why)
    return found


def _midnight(at_us: int) -> int:
    return at_us - at_us % DAY_US


def old(connection: Connection, before_us: int) -> Pruned:
    """What there is to delete; not which windows, nor what it would free."""
    row = connection.execute(
        select(func.count(), func.coalesce(func.sum(calls.c.attempts), 0)).where(
            calls.c.started_at_us < before_us
        )
    ).one()
    both = adjustments.join(calls, calls.c.id == adjustments.c.call_id)
    corrections = connection.scalar(
        select(func.count()).select_from(both).where(calls.c.started_at_us < before_us)
    )
    return Pruned(row[0], int(row[1]), corrections or 0)


def mark(connection: Connection, before_us: int) -> None:
    """Say from when on calls are there: what is older is no longer compared with its rollups."""
    lock_history(connection)
    known = connection.scalar(select(generations.c.value).where(generations.c.name == PRUNED))
    if known is None:
        connection.execute(insert(generations).values(name=PRUNED, value=before_us))
    elif known < before_us:
        connection.execute(
            update(generations).where(generations.c.name == PRUNED).values(value=before_us)
        )


# Batches


def prune_batch(connection: Connection, before_us: int, size: int = BATCH) -> Pruned:
    """Delete the oldest calls before a moment, ``size`` at most unless more began at once."""
    lock_history(connection)
    oldest = connection.scalar(select(func.min(calls.c.started_at_us)))
    if oldest is None or oldest >= before_us:
        return Pruned()
    next_one = (
        select(calls.c.started_at_us)
        .where(calls.c.started_at_us < before_us)
        .order_by(calls.c.started_at_us)
        .offset(size)
        .limit(1)
    )
    found = connection.scalar(next_one)
    end = before_us if found is None else max(found, oldest + 1)
    carry(connection, load_covers(connection), oldest, end)
    return _delete(connection, oldest, end)


def _delete(connection: Connection, since_us: int, until_us: int) -> Pruned:
    is_sqlite = connection.dialect.name == "sqlite"
    freed = -free_bytes(connection) if is_sqlite else row_bytes(connection, since_us, until_us)
    span = _within(since_us, until_us)
    ids = connection.scalars(select(calls.c.id).where(*span)).all()
    corrections = fold(connection, adjustments.c.call_id.in_(ids))
    tries = connection.execute(delete(attempts).where(attempts.c.call_id.in_(ids))).rowcount
    connection.execute(delete(calls).where(*span))
    if is_sqlite:
        freed += free_bytes(connection)
    return Pruned(len(ids), tries, corrections, bytes=freed)


def _within(since_us: int, until_us: int) -> tuple[ColumnElement[bool], ...]:
    return (calls.c.started_at_us >= since_us, calls.c.started_at_us < until_us)


def carry(connection: Connection, covers: Covers, since_us: int, until_us: int) -> None:
    """Keep what the calls of a time were charged, for each window that counts it."""
    if not covers.budgets:
        return
    sums: dict[WindowKey, int] = {}
    budgets = covers.budgets.values()
    for fact in charges(connection, budgets, since_us=since_us, until_us=until_us):
        for place in covers.of(fact.principal, fact.model, fact.at_us).places:
            if place.counted and fact.nano:
                sums[place.key] = sums.get(place.key, 0) + fact.nano
    _add_carried(connection, sums)


def _add_carried(connection: Connection, sums: dict[WindowKey, int]) -> None:
    if not sums:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(carried)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(carried.primary_key),
            set_={"nano": carried.c.nano + statement.excluded.nano},
        ),
        [
            {"budget_id": k.budget_id, "subject": k.subject, "starts_at": k.starts_at, "nano": n}
            for k, n in sums.items()
        ],
    )


def fold_between(connection: Connection, since_us: int, until_us: int) -> int:
    """Make adjustments of the calls of a time one row for each reason; says how many there were."""
    ids = select(calls.c.id).where(*_within(since_us, until_us))
    return fold(connection, adjustments.c.call_id.in_(ids))


def fold(connection: Connection, which: ColumnElement[bool]) -> int:
    """Make these adjustments one row for each reason; says how many there were."""
    found = connection.execute(
        select(
            adjustments.c.reason,
            func.sum(adjustments.c.amount_nano).label("nano"),
            func.max(adjustments.c.created_at_us).label("latest_us"),
            func.count().label("rows"),
        )
        .where(which)
        .group_by(adjustments.c.reason)
    ).all()
    if not found:
        return 0
    connection.execute(delete(adjustments).where(which))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(adjustments)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[adjustments.c.id],
            set_={
                "amount_nano": adjustments.c.amount_nano + statement.excluded.amount_nano,
                "created_at_us": statement.excluded.created_at_us,
            },
        ),
        [
            {
                "id": f"pruned-{row.reason}",
                "call_id": "",
                "created_at_us": row.latest_us,
                "amount_nano": int(row.nano),
                "reason": row.reason,
            }
            for row in found
        ],
    )
    return sum(row.rows for row in found)


# Windows that have ended


def prune_windows(connection: Connection, before_us: int) -> int:
    """Delete some windows that ended before, with nothing held on them; 0 where there are no more."""
    lock_history(connection)
    for condition in _ended(load_covers(connection).budgets.values(), before_us):
        w = budget_windows.c
        found = connection.execute(
            select(w.budget_id, w.subject, w.starts_at)
            .where(condition, w.held_nano == 0)
            .limit(_WINDOWS_AT_ONCE)
        ).all()
        if found:
            keys = [tuple(row) for row in found]
            for table in (budget_windows, carried):
                c = table.c
                key = tuple_(c.budget_id, c.subject, c.starts_at)
                connection.execute(delete(table).where(key.in_(keys)))
            return len(found)
    return 0


def _ended(budgets: Iterable[StoredBudget], before_us: int) -> Iterator[ColumnElement[bool]]:
    """For each budget, which of its windows ended before."""
    w = budget_windows.c
    for budget in (stored.budget for stored in budgets):
        if budget.window is not Window.TOTAL:
            starts_at, resets_at = window_bounds(budget.window, budget.timezone, before_us - 1)
            ended = resets_at is not None and resets_at * US <= before_us
            first_kept = resets_at if ended else starts_at
            yield (w.budget_id == budget.id) & (w.starts_at < first_kept)
