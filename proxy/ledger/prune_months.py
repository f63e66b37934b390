"""PostgreSQL: a month of calls that is old as a whole goes as a partition, which costs next to nothing.

What has to be kept of it is summed up day by day, so that no statement runs long. Nobody writes to so old
a month meanwhile; the tables themselves are locked for the moment of the drop alone.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from proxy.ledger.budget_rows import load_covers
from proxy.ledger.history import lock_history
from proxy.ledger.prune import DAY_US, US, Pruned, carry, fold_between

_BOUNDS = re.compile(r"FROM \('?(\d+)'?\) TO \('?(\d+)'?\)")
_DROP_WAITS_MS = 500  # for calls under way; behind it, others wait too
_DROP_TRIES = 20
_DROP_PAUSE_S = 0.1
_LOCK_NOT_AVAILABLE = "55P03"
_SLACK_US = 3_600 * US  # an attempt begins before its call ends, by one clock or another


@dataclass(frozen=True, slots=True)
class Month:
    """The partitions of one month, by their names."""

    calls: str
    attempts: str
    since_us: int
    until_us: int


def old_months(connection: Connection, before_us: int) -> list[Month]:
    """The months that ended before, the oldest first."""
    if connection.dialect.name != "postgresql":
        return []
    found = {"calls": dict(_partitions(connection, "calls"))}
    found["attempts"] = dict(_partitions(connection, "attempts"))
    return [
        Month(found["calls"][bounds], found["attempts"][bounds], *bounds)
        for bounds in sorted(found["calls"].keys() & found["attempts"].keys())
        if bounds[1] <= before_us
    ]


def _partitions(connection: Connection, table: str) -> Iterator[tuple[tuple[int, int], str]]:
    for name, bounds in connection.execute(text(_PARTITIONS), {"table": table}):
        if found := _BOUNDS.search(bounds):
            yield (int(found[1]), int(found[2])), name


_PARTITIONS = """
SELECT child.relname, pg_get_expr(child.relpartbound, child.oid) FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = to_regclass(:table)
"""


def month_size(connection: Connection, month: Month) -> int:
    """Its bytes, with indexes."""
    query = text(
        "SELECT pg_total_relation_size(to_regclass(:c)) + pg_total_relation_size(to_regclass(:a))"
    )
    return int(connection.scalar(query, {"c": month.calls, "a": month.attempts}) or 0)


def drop_month(connection: Connection, month: Month) -> Pruned | None:
    """Drop a month, having kept what lives on of it; None where a call that stays has an attempt in it."""
    lock_history(connection)
    # Late settlements of so old a call, if any, wait until the month is gone.
    tables = f"{month.calls}, {month.attempts}"
    connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
    if connection.scalar(text(_STRAYS.format(calls=month.calls, attempts=month.attempts))):
        return None
    size = month_size(connection, month)
    gone_calls = connection.scalar(text(f"SELECT count(*) FROM {month.calls}")) or 0  # noqa: S608 - a name of ours
    gone_tries = connection.scalar(text(f"SELECT count(*) FROM {month.attempts}")) or 0  # noqa: S608 - see above
    covers = load_covers(connection)
    corrections = 0
    for day in range(month.since_us, month.until_us, DAY_US):
        until = min(day + DAY_US, month.until_us)
        carry(connection, covers, day, until)
        corrections += fold_between(connection, day, until)
    gone_tries += connection.execute(
        text(_LATE.format(calls=month.calls)),
        {"until": month.until_us, "ending": month.until_us - _SLACK_US},
    ).rowcount
    _drop(connection, tables)
    return Pruned(gone_calls, gone_tries, corrections, 0, (month.calls,), size)


# Attempts of calls that are not of this month and stay: a clock that was set back.
_STRAYS = """
SELECT EXISTS (
    SELECT FROM {attempts} a WHERE NOT EXISTS (SELECT FROM {calls} c WHERE c.id = a.call_id)
    AND EXISTS (SELECT FROM calls k WHERE k.id = a.call_id)
)
"""
# Attempts that calls of this month made when it was over.
_LATE = """
DELETE FROM attempts a USING {calls} c
WHERE c.started_at_us + c.duration_us >= :ending AND a.call_id = c.id AND a.started_at_us >= :until
"""


def _drop(connection: Connection, tables: str) -> None:
    """Drop the tables as soon as no transaction uses them, without a queue forming behind it for long."""
    connection.execute(text(f"SET LOCAL lock_timeout = {_DROP_WAITS_MS}"))
    for attempt in range(_DROP_TRIES):
        try:
            with connection.begin_nested():
                connection.execute(text(f"DROP TABLE {tables}"))
        except DBAPIError as error:
            last = attempt + 1 == _DROP_TRIES
            if last or getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
                raise
            time.sleep(_DROP_PAUSE_S)
        else:
            return
