"""PostgreSQL's statements: each takes a batch as arrays, one a column."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import Table

from proxy.ledger.budget_rows import BUDGET_LOCK
from proxy.store.schema import attempts, budgets, calls, holds, rollups, rollups_by_principal

_TYPES = {
    "VARCHAR": "text",
    "TEXT": "text",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "BOOLEAN": "boolean",
}


def columns(found: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as columns."""
    return [list(column) for column in zip(*found, strict=True)] if found else [[]] * width


def _names(table: Table) -> str:
    return ", ".join(f'"{c.name}"' for c in table.columns)


def _arrays(table: Table, first: int) -> str:
    return ", ".join(
        f"${first + i}::{_TYPES[str(column.type)]}[]" for i, column in enumerate(table.columns)
    )


def _insert(table: Table, first: int) -> str:
    arrays = _arrays(table, first)
    return f'INSERT INTO "{table.name}" ({_names(table)}) SELECT * FROM unnest({arrays})'  # noqa: S608 - names of ours


def _add(table: Table, first: int) -> str:
    key = ", ".join(f'"{c.name}"' for c in table.primary_key)
    sums = ", ".join(
        f'"{c.name}" = "{table.name}"."{c.name}" + excluded."{c.name}"'
        for c in table.columns
        if not c.primary_key
    )
    order = ", ".join(str(i) for i in range(1, len(table.primary_key) + 1))
    return f"{_insert(table, first)} ORDER BY {order} ON CONFLICT ({key}) DO UPDATE SET {sums}"


HOLD_WIDTH = len(holds.columns)

# Two statements, so that what follows sees what was committed while it waited for the lock.
BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock_shared({BUDGET_LOCK})"

LOCK_HOLDS = (
    "SELECT call_id, amount_nano, windows, estimate_nano, model, record FROM holds"
    " WHERE call_id = ANY($1::text[]) ORDER BY call_id FOR UPDATE"
)
NOTE_HOLDS = (
    "UPDATE holds SET record = n.record"
    " FROM unnest($1::text[], $2::text[]) AS n (call_id, record) WHERE holds.call_id = n.call_id"
)
DRAW_HOLDS = (
    "UPDATE holds SET amount_nano = n.left_nano"
    " FROM unnest($1::text[], $2::bigint[]) AS n (call_id, left_nano)"
    " WHERE holds.call_id = n.call_id"
)
OUTCOMES = "SELECT id, outcome, model FROM calls WHERE id = ANY($1::text[])"
CALL = f"SELECT {_names(calls)} FROM calls WHERE id = $1"  # noqa: S608 - names of ours
ATTEMPTS = f"SELECT {_names(attempts)} FROM attempts WHERE call_id = $1"  # noqa: S608 - see above
DELETE_CALLS = "DELETE FROM calls WHERE id = ANY($1::text[])"
DELETE_ATTEMPTS = "DELETE FROM attempts WHERE call_id = ANY($1::text[])"

GENERATION = "SELECT value FROM generations WHERE name = 'budgets'"
BUDGETS = f"SELECT {_names(budgets)} FROM budgets"  # noqa: S608 - see above

_KEYS = "unnest($1::text[], $2::text[], $3::bigint[]) AS k (budget_id, subject, starts_at)"

# The generation comes with at least one row, if there ever was a budget; the locks are taken in order.
LOCK_WINDOWS = f"""
SELECT g.value AS generation, w.* FROM generations g LEFT JOIN (
    SELECT b.* FROM budget_windows b JOIN {_KEYS} USING (budget_id, subject, starts_at)
    ORDER BY b.budget_id, b.subject, b.starts_at FOR UPDATE OF b
) w ON true WHERE g.name = 'budgets'
"""  # noqa: S608 - see above

# Nobody waits here for a window that another made before: it was locked with the others above.
MAKE_WINDOWS = f"""
INSERT INTO budget_windows (budget_id, subject, starts_at)
SELECT * FROM {_KEYS} ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
"""  # noqa: S608 - see above

# One statement for what every hold and every settlement changes, and one for the rows of calls: each
# statement costs the proxy more than what is in it. Their parts run in the order they are written.
WRITE_HOLDS = f"""
WITH ended AS (DELETE FROM holds WHERE call_id = ANY($1::text[])), put AS (
    UPDATE budget_windows w
    SET spent_nano = n.spent, held_nano = n.held, overdraft_nano = n.overdraft
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
        AS n (budget_id, subject, starts_at, spent, held, overdraft)
    WHERE (w.budget_id, w.subject, w.starts_at) = (n.budget_id, n.subject, n.starts_at)
) {_insert(holds, 8)}
"""  # noqa: S608 - see above
_AT = tuple(accumulate((1, *(len(table.columns) for table in (calls, attempts, rollups)))))
WRITE_CALLS = f"""
WITH a AS ({_insert(calls, _AT[0])}), b AS ({_insert(attempts, _AT[1])}),
c AS ({_add(rollups, _AT[2])})
{_add(rollups_by_principal, _AT[3])}
"""
