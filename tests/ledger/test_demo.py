"""Made-up calls: exactly as many as asked for, in every database, and counted as real ones are."""

import pytest

from proxy.ledger.demo import TEAMS, DemoPlan, LedgerInUse, seed
from proxy.ledger.demo.calls import key_names
from proxy.ledger.demo.making import Making, sheets
from proxy.ledger.demo.tempo import hourly_counts
from proxy.ledger.rows import CALL_COLUMNS
from tests.ledger.homes import Home
from tests.ledger.samples import NOON_US

PLAN = DemoPlan(days=35, calls=1500, seed=3, now_us=NOON_US)


async def test_every_total_equals_its_rows_on_each_database(home: Home) -> None:
    if home.url is None:
        pytest.skip("a ledger in memory is not seeded")
    ledger = await home.open()
    seen: list[int] = []

    made = await seed(home.database(), PLAN, [], seen.append)

    assert (made.calls, sum(seen)) == (1500, 1500)
    assert await ledger.verify() == []
    assert {view.budget.subject for view in await ledger.budgets()} >= {"search", "acme"}
    with pytest.raises(LedgerInUse, match="--append"):
        await seed(home.database(), PLAN, [], seen.append)


async def test_a_blocking_budget_is_not_overrun_and_one_that_warns_may_be(home: Home) -> None:
    if home.url is None:
        pytest.skip("a ledger in memory is not seeded")
    ledger = await home.open()
    await seed(home.database(), PLAN, [], lambda _: None)

    for view in await ledger.budgets():
        for window in view.windows:
            assert not view.budget.blocks or window.spent_nano <= view.budget.limit_nano


@pytest.mark.parametrize(("calls", "hours"), [(1, 1), (10, 48), (99_999, 24 * 90), (5, 2000)])
def test_the_hours_share_all_calls_between_them(calls: int, hours: int) -> None:
    counts = hourly_counts(calls, 1_700_000_000 // 3600 * 3600, hours)

    assert (len(counts), sum(counts)) == (hours, calls)
    assert min(counts) >= 0


async def test_what_goes_wrong_in_a_real_ledger_is_there_too() -> None:
    """Errors, refusals, calls without a price, counted and estimated ones, and second attempts."""
    ids = {name: "key_1" for team in TEAMS for name in key_names(team)}
    plan = DemoPlan(days=7, calls=12_000, seed=1, now_us=NOON_US)
    rows = [row async for sheet in sheets(Making(plan, (), ids, ())) for row in sheet.calls]
    column = {name: n for n, name in enumerate(CALL_COLUMNS)}

    def values(name: str) -> set[object]:
        return {row[column[name]] for row in rows}

    assert values("outcome") == {"completed", "client_left", "upstream_failed", "refused", "lost"}
    assert values("usage_source") == {"provider", "counted", "estimated", "none"}
    assert values("price_source") >= {"pricebook", "unpriced", ""}
    assert values("attempts") == {0, 1, 2}
