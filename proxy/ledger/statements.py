"""SQLite's statements, compiled once from the tables and run on the driver itself.

SQLAlchemy's own execution costs more for a row than SQLite does.
"""

from functools import lru_cache

from sqlalchemy import Table, bindparam, delete, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from proxy.store.schema import (
    attempts,
    budget_windows,
    budgets,
    calls,
    holds,
    rollups,
    rollups_by_principal,
)

_DIALECT = sqlite.dialect(paramstyle="qmark")


def _text(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


def _insert(table: Table) -> str:
    return _text(sqlite.insert(table))


def _replace(table: Table) -> str:
    statement = sqlite.insert(table)
    values = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return _text(statement.on_conflict_do_update(index_elements=table.primary_key, set_=values))


def _add(table: Table) -> str:
    statement = sqlite.insert(table)
    sums = {c.name: c + statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return _text(statement.on_conflict_do_update(index_elements=table.primary_key, set_=sums))


INSERT_CALL = _insert(calls)
INSERT_ATTEMPT = _insert(attempts)
INSERT_HOLD = _insert(holds)
PUT_WINDOW = _replace(budget_windows)
ADD_ROLLUP = _add(rollups)
ADD_BY_PRINCIPAL = _add(rollups_by_principal)
ADD_WINDOW = _add(budget_windows)
NOTE_HOLD = _text(
    update(holds).where(holds.c.call_id == bindparam("id")).values(record=bindparam("text"))
)
DRAW_HOLD = _text(
    update(holds).where(holds.c.call_id == bindparam("id")).values(amount_nano=bindparam("left"))
)
DELETE_CALL = _text(delete(calls).where(calls.c.id == bindparam("id")))
DELETE_ATTEMPTS = _text(delete(attempts).where(attempts.c.call_id == bindparam("id")))

DELETE_HOLD = _text(delete(holds).where(holds.c.call_id == bindparam("id")))

BUDGETS = _text(select(budgets))
CALL = _text(select(calls).where(calls.c.id == bindparam("id")))
ATTEMPTS = _text(select(attempts).where(attempts.c.call_id == bindparam("id")))
GENERATION = "SELECT value FROM generations WHERE name = 'budgets'"
WINDOW = (
    "SELECT spent_nano, held_nano, overdraft_nano FROM budget_windows"
    " WHERE budget_id = ? AND subject = ? AND starts_at = ?"
)


@lru_cache(maxsize=256)
def for_rows(insert: str, count: int) -> str:
    """An insert of one row as an insert of so many: one step of SQLite, not one for each row."""
    head, marks = insert.split(" VALUES ", 1)
    return f"{head} VALUES {', '.join([marks] * count)}"


@lru_cache(maxsize=2048)
def end_holds(count: int) -> str:
    """Delete so many holds, and say what they held."""
    return (
        f"DELETE FROM holds WHERE call_id IN ({_marks(count)})"  # noqa: S608 - only question marks
        " RETURNING call_id, amount_nano, windows"
    )


@lru_cache(maxsize=2048)
def full_holds(count: int) -> str:
    """All that so many holds say."""
    return (
        "SELECT call_id, amount_nano, windows, estimate_nano, model, record"  # noqa: S608 - see above
        f" FROM holds WHERE call_id IN ({_marks(count)})"
    )


@lru_cache(maxsize=2048)
def outcomes(count: int) -> str:
    """Which of so many calls have a row already."""
    return (
        "SELECT id, outcome, model FROM calls"  # noqa: S608 - see above
        f" WHERE id IN ({_marks(count)})"
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)
