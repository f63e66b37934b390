"""A database with calls in it, written as the ledger writes them."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Table, insert

from proxy.core.call import AttemptRecord, CallRecord, new_call_id, totals
from proxy.ledger import rows
from proxy.store.engine import Database
from proxy.store.schema import attempts, calls, rollups, rollups_by_principal
from tests.observe.samples import ATTEMPT, RECORD, STARTED_US

HOUR_US = 3_600_000_000
Row = tuple[Any, ...]


def a_call(number: int = 0, attempt: dict[str, Any] | None = None, **fields: Any) -> CallRecord:
    """The sample call, ``number`` hours later, with some fields of it or of its attempt changed."""
    started_at_us = STARTED_US + number * HOUR_US
    changed: AttemptRecord = replace(ATTEMPT, started_at_us=started_at_us, **(attempt or {}))
    return replace(
        RECORD,
        **{
            "id": new_call_id(started_at_us * 1000),
            "started_at_us": started_at_us,
            "attempts": (changed,),
            **fields,
        },
    )


async def fill(database: Database, records: Iterable[CallRecord]) -> list[CallRecord]:
    """Write the calls with their attempts and rollups."""
    kept = list(records)
    await database.run(lambda connection: _write(connection, kept))
    return kept


def _write(connection: Connection, records: list[CallRecord]) -> None:
    by_hour: Counter[tuple[Row, int]] = Counter()
    by_day: Counter[tuple[Row, int]] = Counter()
    for record in records:
        sums = totals(record)
        _insert(
            connection,
            calls,
            rows.CALL_COLUMNS,
            rows.call_row(record, record.model_requested, sums),
        )
        for attempt in record.attempts:
            _insert(connection, attempts, rows.ATTEMPT_COLUMNS, rows.attempt_row(record, attempt))
        for place, count in enumerate(rows.rollup_counts(record, sums)):
            by_hour[rows.rollup_key(record), place] += count
        for place, count in enumerate(rows.principal_counts(sums)):
            by_day[rows.principal_key(record), place] += count
    _insert_counts(connection, rollups, rows.ROLLUP_KEY, rows.ROLLUP_COUNTS, by_hour)
    _insert_counts(
        connection, rollups_by_principal, rows.PRINCIPAL_KEY, rows.PRINCIPAL_COUNTS, by_day
    )


def _insert(connection: Connection, table: Table, names: tuple[str, ...], row: Row) -> None:
    connection.execute(insert(table).values(dict(zip(names, row, strict=True))))


def _insert_counts(
    connection: Connection,
    table: Table,
    key_names: tuple[str, ...],
    count_names: tuple[str, ...],
    counts: Counter[tuple[Row, int]],
) -> None:
    for key in {key for key, _ in counts}:
        sums = [counts[key, place] for place in range(len(count_names))]
        _insert(connection, table, key_names + count_names, (*key, *sums))
