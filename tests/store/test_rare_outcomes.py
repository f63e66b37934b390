"""Calls with an outcome that hardly any call has: found at once, among however many."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.dialects import sqlite

from proxy.core.call import Outcome
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.records import Records, newest_calls
from tests.observe.samples import RECORD
from tests.store.filled import fill

RARE = [outcome for outcome in Outcome if outcome is not Outcome.COMPLETED]


async def test_each_outcome_finds_its_calls(database: Database) -> None:
    """The newest first, whichever it is."""
    made = [
        replace(RECORD, id=f"fb-{n}-{outcome}", outcome=outcome, started_at_us=n)
        for n in range(2)
        for outcome in Outcome
    ]
    await fill(database, made)

    for outcome in Outcome:
        page = await Records(database).calls(CallFilter(outcome=outcome), 10)
        assert [row.id for row in page.items] == [f"fb-1-{outcome}", f"fb-0-{outcome}"]


@pytest.mark.parametrize("outcome", RARE)
async def test_nothing_else_is_read(migrated: Path, outcome: Outcome) -> None:
    """The index of rare outcomes leads to them, in the order of the page."""
    database = Database(f"sqlite:///{migrated}")
    query = newest_calls(CallFilter(outcome=outcome, from_us=1, to_us=2), 50, None)
    asked = query.compile(dialect=sqlite.dialect(paramstyle="named"))

    plan = await database.run(
        lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", asked.params).all(),
        writes=False,
    )
    await database.close()

    index = "ix_calls_outcome_started_at_us (outcome=? AND started_at_us>? AND started_at_us<?)"
    assert plan[0][3] == f"SEARCH calls USING INDEX {index}"
