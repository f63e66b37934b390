"""Calls of a key, a user or a workflow: looked for on the days on which there are any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.call import CallRecord, Outcome
from proxy.store import call_days
from proxy.store.call_days import DAY_S, US, is_somebodys, stretches
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.records import Records
from tests.observe.samples import STARTED_US
from tests.store.filled import a_call, fill

TODAY = STARTED_US // US // DAY_S * DAY_S
DAYS = st.sets(st.integers(0, 400)).map(lambda found: sorted(found, reverse=True))


def calls_of_somebody() -> list[CallRecord]:
    """Of ada and bob, in two teams, hours and days apart."""
    return [
        a_call(-hours, team=team, user=user, workflow=workflow)
        for hours, team, user, workflow in (
            (0, "search", "ada", "a"),
            (1, "search", "bob", "a"),
            (26, "billing", "ada", "b"),
            (27, "search", "ada", "a"),
            (200, "search", "bob", "b"),
            (201, "search", "ada", "a"),
            (202, "search", "ada", "b"),
            (900, "billing", "ada", "b"),
        )
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        CallFilter(user="ada"),
        CallFilter(user="ada", team="billing"),
        CallFilter(user="ada", workflow="b", status=200),
        CallFilter(workflow="b", from_us=STARTED_US - 250 * 3600 * US),
        CallFilter(user="ada", from_us=STARTED_US - 26 * 3600 * US, to_us=STARTED_US),
        CallFilter(user="ada", from_us=STARTED_US + 1),
        CallFilter(user="nobody"),
        CallFilter(key="no such key"),
    ],
)
@pytest.mark.parametrize("most", [1, 50])
async def test_nobodys_call_is_missed(
    database: Database, monkeypatch: pytest.MonkeyPatch, wanted: CallFilter, most: int
) -> None:
    """Page by page they are those that a look at every call finds."""
    monkeypatch.setattr(call_days, "MOST", most)
    await fill(database, calls_of_somebody())
    records = Records(database)
    everyone = [row for rows in [page async for page in records.export(wanted)] for row in rows]

    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await records.calls(wanted, 2, cursor)
        found += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == [row.id for row in reversed(everyone)]


def test_only_the_days_with_calls_are_looked_through() -> None:
    """And only the team's calls, where they are all of one."""
    wanted = CallFilter(user="ada", from_us=(TODAY - 40 * DAY_S) * US, to_us=(TODAY + 1) * US)
    days = [(TODAY, "a"), (TODAY - 9 * DAY_S, "a"), (TODAY - 10 * DAY_S, "b")]

    assert [(part.team, part.from_us, part.to_us) for part in stretches(wanted, days)] == [
        ("a", TODAY * US, (TODAY + 1) * US),
        (None, (TODAY - 10 * DAY_S) * US, (TODAY - 8 * DAY_S) * US),
    ]


@given(DAYS)
def test_the_stretches_are_few_and_have_each_day(days: list[int]) -> None:
    parts = stretches(CallFilter(user="ada"), [(day * DAY_S, "a") for day in days])

    spans = [range(part.from_us or 0, part.to_us or 0) for part in parts]
    assert all(any(day * DAY_S * US in span for span in spans) for day in days)
    assert len(spans) <= call_days.MOST
    assert spans == sorted(spans, key=lambda span: -span.start)


def test_what_the_rollup_does_not_know_is_looked_for_everywhere() -> None:
    assert not is_somebodys(CallFilter(team="search", status=500))
    assert not is_somebodys(CallFilter(user="ada", outcome=Outcome.LOST))
    assert is_somebodys(CallFilter(workflow="", outcome=Outcome.COMPLETED))
