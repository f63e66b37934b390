"""Made-up calls: exactly as many as asked for, in every database, and counted as real ones are."""

import pytest
from sqlalchemy import text

from proxy.core.call import totals
from proxy.ledger import rows
from proxy.ledger.demo import TEAMS, DemoPlan, LedgerInUse, hands, seed
from proxy.ledger.demo.calls import key_names, record_of, traffic, upstream_id
from proxy.ledger.demo.forms import Forms
from proxy.ledger.demo.making import Maker, Making
from proxy.ledger.demo.tempo import hourly_counts
from proxy.ledger.rows import CALL_COLUMNS
from proxy.store.engine import Database
from proxy.store.pricebook import layered_book
from tests.ledger.homes import Home
from tests.ledger.samples import NOON_US
from tests.migrated import migrated_database

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

    views = await ledger.budgets()
    over = {
        blocks: [
            window.spent_nano > view.budget.limit_nano
            for view in views
            if view.budget.blocks == blocks
            for window in view.windows
        ]
        for blocks in (True, False)
    }

    assert (len(over[True]) > 1, any(over[True]), any(over[False])) == (True, False, True)


async def test_postgres_knows_at_once_what_came_in(postgres_server: str) -> None:
    """Else each page is slow for minutes, until it looks by itself."""
    async with migrated_database(postgres_server) as url:
        database = Database(url)
        await seed(database, PLAN, [], lambda _: None)

        unknown = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < 0"
        names = {row["relname"] for row in await database.fetch(text(unknown))}
        await database.close()

    assert not {name for name in names if name.startswith(("calls_p", "attempts_p", "rollups"))}


@pytest.mark.parametrize(("calls", "hours"), [(1, 1), (10, 48), (99_999, 24 * 90), (5, 2000)])
def test_the_hours_share_all_calls_between_them(calls: int, hours: int) -> None:
    counts = hourly_counts(calls, 1_700_000_000 // 3600 * 3600, hours)

    assert (len(counts), sum(counts)) == (hours, calls)
    assert min(counts) >= 0


def test_what_goes_wrong_in_a_real_ledger_is_there_too() -> None:
    """Errors, refusals, calls without a price, counted and estimated ones, and second attempts."""
    ids = {name: "key_1" for team in TEAMS for name in key_names(team)}
    plan = DemoPlan(days=7, calls=12_000, seed=1, now_us=NOON_US)
    maker = Maker(Making(plan, (), ids, ()))
    found = [row for hours in plan.stretches() for row in maker.sheet(hours).calls]
    column = {name: n for n, name in enumerate(CALL_COLUMNS)}

    def values(name: str) -> set[object]:
        return {row[column[name]] for row in found}

    assert values("outcome") == {"completed", "client_left", "upstream_failed", "refused", "lost"}
    assert values("usage_source") == {"provider", "counted", "estimated", "none"}
    assert values("price_source") >= {"pricebook", "unpriced", ""}
    assert values("attempts") == {0, 1, 2}


def test_a_form_says_what_the_record_of_the_call_says() -> None:
    """Both ways of writing a call down come to the same rows, keys and counts."""
    ids = {name: f"key of {name}" for team in TEAMS for name in key_names(team)}
    plan = DemoPlan(days=1, calls=300, seed=2, now_us=NOON_US)
    made = traffic(plan.start_us, plan.now_us, plan.seed, layered_book(()), ids)
    forms = Forms()
    draws = list(made.hour(plan.start_us, 300, plan.start_us + 3_600_000_000))
    well = [draw for draw in draws if not draw.went_wrong]

    assert len(well) > 250
    for draw in well:
        form, given, record = forms[draw.answer], upstream_id(draw.id), record_of(draw)
        sums = totals(record)
        assert form.call_row(draw, given) == rows.call_row(record, record.model_requested, sums)
        assert form.attempt_row(draw, given) == rows.attempt_row(record, record.attempts[0])
        assert (rows.hour_of(draw.at_us), *form.rollup) == rows.rollup_key(record)
        assert form.counts == rows.rollup_counts(record, sums)
        day = rows.day_of(draw.at_us)
        assert (day, *form.principal(draw.caller)) == rows.principal_key(record)
        assert form.principal_counts == rows.principal_counts(sums)


async def test_several_processes_write_as_one_does(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sheet goes in whole, by whichever process made it, and everything adds up."""
    if home.url is None:
        pytest.skip("a ledger in memory is not seeded")
    monkeypatch.setattr(hands, "_ALONE", 0)
    ledger = await home.open()
    seen: list[int] = []

    await seed(home.database(), DemoPlan(2, 45_000, 1, NOON_US), [], seen.append)

    assert (len(seen) > 1, sum(seen)) == (True, 45_000)
    assert await ledger.verify() == []
