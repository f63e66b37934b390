"""The books of a database for ``verify``: every total, and what its rows add up to.

Reads every row of calls: for tests, and for a check by hand.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    case,
    cast,
    func,
    select,
)

from proxy.core.budgets import WindowKey
from proxy.ledger import rows
from proxy.ledger.budget_rows import load_covers
from proxy.ledger.money_rows import charges, open_holds
from proxy.ledger.rows import Row
from proxy.ledger.verify import Books, differences
from proxy.store.adjusted import adjusted, still_unpriced
from proxy.store.schema import (
    attempts,
    budget_windows,
    calls,
    carried,
    generations,
    rollups,
    rollups_by_principal,
)

PRUNED = "pruned_before_us"  # in generations: calls that started before were deleted, rollups kept
_SECOND = 1_000_000
_HOUR = 3_600
_DAY = 86_400
_ERROR = 400


def verify(connection: Connection) -> list[str]:
    """Where a total differs from the rows it is made of: empty where all is well."""
    return differences(_books(connection))


def _books(connection: Connection) -> Books:
    covers = load_covers(connection)
    pruned = connection.scalar(select(generations.c.value).where(generations.c.name == PRUNED)) or 0
    windows = connection.execute(select(budget_windows))
    return Books(
        covers=covers,
        windows={
            WindowKey(w.budget_id, w.subject, w.starts_at): (w.spent_nano, w.held_nano)
            for w in windows
        },
        charges=tuple(charges(connection, covers.budgets.values())),
        holds=open_holds(connection),
        rollups=_written(connection, rollups, pruned),
        rollups_due=_read(connection, _by_hour(pruned), len(rows.ROLLUP_KEY)),
        by_principal=_written(connection, rollups_by_principal, pruned),
        by_principal_due=_read(connection, _by_day(pruned), len(rows.PRINCIPAL_KEY)),
        attempts=_miscounted(connection),
        carried=_carried(connection),
    )


def _carried(connection: Connection) -> dict[WindowKey, int]:
    found = connection.execute(select(carried))
    return {WindowKey(row.budget_id, row.subject, row.starts_at): row.nano for row in found}


def _written(connection: Connection, table: Table, pruned_us: int) -> dict[Row, Row]:
    time = table.columns[0]
    # The hour in which pruning stopped is left out: it has lost a part of its calls.
    query = select(table).where(time * _SECOND >= pruned_us)
    return _read(connection, query, len(table.primary_key))


def _read(connection: Connection, query: Select[Any], key_length: int) -> dict[Row, Row]:
    found = connection.execute(query)
    return {tuple(row[:key_length]): tuple(int(n) for n in row[key_length:]) for row in found}


def _start(length_s: int) -> ColumnElement[int]:
    second = calls.c.started_at_us // _SECOND
    return second - second % length_s


def _total(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.sum(cast(column, BigInteger))


def _cost() -> ColumnElement[int]:
    return func.sum(calls.c.cost_nano + adjusted())


def _by_hour(pruned_us: int) -> Select[Any]:
    c = calls.c
    served = case((c.model_served != "", c.model_served), else_=c.model_requested)
    hour = _start(_HOUR)
    key = (hour, c.team, c.organisation, served, c.upstream, c.endpoint, c.outcome)
    return (
        select(
            *key,
            func.count(),
            _total(case((c.status >= _ERROR, 1), else_=0)),
            _total(case((still_unpriced(), 1), else_=0)),
            *(_total(calls.c[name]) for name in rows.ROLLUP_COUNTS[3:8]),
            _cost(),
            _total(c.duration_us),
        )
        .where(hour * _SECOND >= pruned_us)
        .group_by(*key)
    )


def _by_day(pruned_us: int) -> Select[Any]:
    c = calls.c
    day = _start(_DAY)
    key = (day, c.team, c.key, c.user, c.workflow)
    return (
        select(*key, func.count(), _total(c.input_tokens), _total(c.output_tokens), _cost())
        .where(day * _SECOND >= pruned_us)
        .group_by(*key)
    )


def _miscounted(connection: Connection) -> dict[str, tuple[int, int]]:
    there = select(func.count()).where(attempts.c.call_id == calls.c.id).scalar_subquery()
    query = select(calls.c.id, calls.c.attempts, there).where(calls.c.attempts != there)
    return {call_id: (said, found) for call_id, said, found in connection.execute(query)}
