"""Old calls go; every sum that they are part of stays true, and is still checked."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, text

from proxy.core.budgets import EACH, Scope, Window
from proxy.ledger import partitions, prune_months
from proxy.ledger.cover import StoredBudget
from proxy.ledger.prune import Cut, Pruned, cut
from proxy.ledger.pruning import Pruning
from proxy.store.engine import Database
from proxy.store.reports import Reports, SpendQuery, read_groups
from proxy.store.schema import adjustments, attempts, budget_windows, calls, carried, holds
from tests.ledger.homes import Home
from tests.ledger.past import answered, prices, reprice, settle, with_attempts
from tests.ledger.samples import DAY_US, HOUR_US, NOON_US, attempt, budget, principal, request

on_both = pytest.mark.parametrize("home", ["sqlite", "postgres"], indirect=True)
on_postgres = pytest.mark.parametrize("home", ["postgres"], indirect=True)
DAY_S = 86_400
TOTAL = budget(10**12, id="total", window=Window.TOTAL)


async def prune(home: Home, days: float, **options: Any) -> tuple[Cut, Pruned]:
    """Prune by the test's clock."""
    pruning = Pruning(home.database(), days * DAY_S, clock_us=home.clock, **options)
    where, _ = await pruning.plan()
    done = Pruned()
    async for step in pruning.run(where):
        done += step
    return where, done


async def rows(database: Database, table: Any) -> int:
    """How many rows a table has."""
    [row] = await database.fetch(select(func.count().label("rows")).select_from(table))
    found: int = row["rows"]
    return found


def days_ago(*days: float) -> list[Any]:
    """A call of 1,200,000 nano-dollars on each of these days."""
    return [answered(1_200_000, at_us=NOON_US - int(day * DAY_US)) for day in days]


@on_both
async def test_old_calls_go_and_their_rollups_stay(home: Home, ledger: Any) -> None:
    """Whole days of UTC: what is older than asked by less than a day may stay."""
    database = home.database()
    await settle(ledger, days_ago(200, 100, 91, 90, 89, 0))

    where, done = await prune(home, 90)

    assert (where.day, where.kept_by) == ("2026-08-24", "")
    assert (done.calls, done.attempts) == (3, 3)
    assert (await rows(database, calls), await rows(database, attempts)) == (3, 3)
    page = await Reports(database).spend(SpendQuery(read_groups("team")), 10)
    assert [(row.calls, row.cost_usd) for row in page.items] == [(6, "0.0072")]
    assert await ledger.verify() == []
    assert (await prune(home, 90))[1] == Pruned()


@on_both
async def test_a_dry_run_says_how_much_and_deletes_nothing(home: Home, ledger: Any) -> None:
    database = home.database()
    await settle(ledger, days_ago(200, 100, 0))
    await reprice(database, prices(any=("3", "4")))

    _, planned = await Pruning(database, 90 * DAY_S, clock_us=home.clock).plan()

    assert (planned.calls, planned.attempts, planned.adjustments) == (2, 2, 2)
    assert planned.bytes > 0
    assert await rows(database, calls) == 3
    _, done = await prune(home, 90)
    assert (done.calls, done.attempts, done.adjustments) == (2, 2, 2)


@on_both
async def test_a_total_keeps_what_its_pruned_calls_had_cost(home: Home, ledger: Any) -> None:
    """Adjustments among it; later calls, reprices and prunes add up with it."""
    database = home.database()
    each = budget(10**12, id="each", scope=Scope.USER, subject=EACH, window=Window.TOTAL)
    ann = principal(user="ann")
    # The budgets are there first: their windows count what comes.
    await ledger.sync_budgets([TOTAL, each])
    await settle(ledger, days_ago(200, 100, 0))
    await settle(ledger, [answered(5, at_us=NOON_US - 150 * DAY_US, caller=ann)])
    await reprice(database, prices(any=("3", "4")))

    await prune(home, 150)
    assert await ledger.verify() == []
    await prune(home, 90)

    assert await _spent(ledger) == {"total": 4 * 3_400_000, "each": 3_400_000}
    assert await ledger.verify() == []
    await settle(ledger, days_ago(0, 120))
    await reprice(database, prices(any=("1", "2")))
    assert await ledger.verify() == []
    assert await _spent(ledger) == {"total": 3 * 3_400_000 + 3 * 1_200_000, "each": 3_400_000}


async def _spent(ledger: Any) -> dict[str, int]:
    return {
        view.budget.id: sum(window.spent_nano for window in view.windows)
        for view in await ledger.budgets()
    }


@on_both
async def test_a_wrong_carry_would_be_noticed(home: Home, ledger: Any) -> None:
    """What is carried is checked like everything else: a nano-dollar more is a difference."""
    database = home.database()
    await ledger.sync_budgets([TOTAL])
    await settle(ledger, days_ago(200, 0))
    await prune(home, 90)

    await database.run(lambda c: c.execute(carried.update().values(nano=carried.c.nano + 1)))

    [difference] = await ledger.verify()
    assert difference.startswith("budget total 'search' from 0: spent is 2400000")


@on_both
async def test_a_budget_made_anew_counts_what_is_kept(home: Home, ledger: Any) -> None:
    """What its older self carried is gone with it; one with another limit is the same budget."""
    await ledger.sync_budgets([TOTAL])
    await settle(ledger, days_ago(200, 0))
    await prune(home, 90)

    await ledger.sync_budgets([budget(10**13, id="total", window=Window.TOTAL)])
    assert await _spent(ledger) == {"total": 2_400_000}
    assert await ledger.verify() == []
    await ledger.sync_budgets([])
    await ledger.sync_budgets([TOTAL])

    assert await _spent(ledger) == {"total": 1_200_000}
    assert await ledger.verify() == []


@on_both
async def test_windows_that_ended_go_and_others_stay(home: Home, ledger: Any) -> None:
    """One that the cut goes through is carried; one that something is held on stays whole."""
    database = home.database()
    daily = budget(10**12, id="d", window=Window.DAY)
    monthly = budget(10**12, id="m")
    home.clock.now_us = NOON_US - 200 * DAY_US
    await ledger.sync_budgets([daily, monthly])
    held = request(7, started_at_us=NOON_US - 120 * DAY_US)
    await ledger.reserve(held)
    home.clock.now_us = NOON_US
    await settle(ledger, days_ago(150, 120, 100, 82, 81, 0))

    where, done = await prune(home, 90)  # before 24 August

    assert (where.day, done.calls, done.windows) == ("2026-08-24", 3, 3)
    windows = await database.fetch(
        select(budget_windows).where(budget_windows.c.starts_at * 1_000_000 < where.before_us)
    )
    assert {(w["budget_id"], w["spent_nano"], w["held_nano"]) for w in windows} == {
        ("d", 1_200_000, 7),  # of the hold's day
        ("m", 1_200_000, 7),  # July
        ("m", 1_200_000, 0),  # August: its call of the 14th is gone, its window not over yet
    }
    assert await rows(database, holds) == 1
    assert await rows(database, carried) == 1 + 2
    assert await ledger.verify() == []


def test_a_current_window_keeps_its_calls() -> None:
    """It is counted from them when its budget changes; only a total would keep them for ever."""
    week = StoredBudget(budget(1, id="w", window=Window.WEEK))
    month = StoredBudget(budget(1, id="m", timezone="America/New_York"))
    total = StoredBudget(TOTAL)

    assert cut([total], 5 * DAY_US, NOON_US).day == "2026-11-17"
    assert cut([week], 10 * DAY_US, NOON_US).day == "2026-11-12"
    found = cut([week, month], 5 * DAY_US, NOON_US)
    assert (found.day, found.kept_by) == ("2026-11-01", "the month of budget m is still current")
    weekly = cut([week, total], 5 * DAY_US, NOON_US)  # a Sunday
    assert (weekly.day, weekly.kept_by) == ("2026-11-16", "the week of budget w is still current")


def test_the_last_day_stays() -> None:
    """A settlement may come late, or twice: it must find its call."""
    found = cut([], 0, NOON_US)

    assert (found.day, found.kept_by) == ("2026-11-21", "the last day is kept")


@on_both
async def test_batches_are_cut_anywhere(home: Home, ledger: Any) -> None:
    """Also where more calls than a batch began at the same moment."""
    old = NOON_US - 100 * DAY_US
    home.clock.now_us = old
    await ledger.sync_budgets([TOTAL, budget(10**12, id="d", window=Window.DAY)])
    home.clock.now_us = NOON_US
    await settle(ledger, [answered(3, at_us=old + n // 4) for n in range(21)])

    pruning = Pruning(home.database(), 90 * DAY_S, clock_us=home.clock, batch=3)
    where, _ = await pruning.plan()
    done = Pruned()
    async for step in pruning.run(where):
        done += step
        assert await ledger.verify() == []  # at each commit, not only at the end

    assert (done.calls, done.attempts, done.windows) == (21, 21, 1)


@on_both
async def test_adjustments_of_pruned_calls_become_their_sum(home: Home, ledger: Any) -> None:
    """Theirs is one row, which later prunes add to; those of calls that stay are untouched."""
    database = home.database()
    await settle(ledger, days_ago(200, 199, 100, 0))
    await reprice(database, prices(any=("3", "4")))
    [before] = await database.fetch(select(func.sum(adjustments.c.amount_nano).label("nano")))

    await prune(home, 150)
    await prune(home, 90)

    found = await database.fetch(select(adjustments).order_by(adjustments.c.call_id))
    assert [(a["call_id"] == "", a["amount_nano"]) for a in found] == [
        (True, 3 * 2_200_000),
        (False, 2_200_000),
    ]
    assert before["nano"] == 4 * 2_200_000
    assert await ledger.verify() == []


@on_both
async def test_servers_go_on_settling_meanwhile(home: Home, ledger: Any) -> None:
    await ledger.sync_budgets([TOTAL])
    await settle(ledger, days_ago(*[100 + n / 100 for n in range(300)]))

    async def serve() -> None:
        for n in range(100):
            await settle(ledger, [answered(10, caller=principal(user=f"u{n % 7}"))])

    _, (_, done), _ = await asyncio.gather(serve(), prune(home, 90, batch=10), serve())

    assert done.calls == 300
    assert await _spent(ledger) == {"total": 300 * 1_200_000 + 200 * 10}
    assert await ledger.verify() == []


# Months, on PostgreSQL


_JUNE_AND_JULY = ("calls_p2026_06", "calls_p2026_07")


async def make_months(home: Home, *days: int) -> None:
    """Have the partitions of the months that were so many days ago."""
    for day in days:
        at_us = NOON_US - day * DAY_US
        await home.database().run(lambda c, at=at_us: partitions.ensure(c, at))  # type: ignore[misc]


async def month_tables(home: Home) -> set[str]:
    """The partitions that there are."""
    found = await home.database().fetch(text("SELECT relname FROM pg_class WHERE relispartition"))
    return {row["relname"] for row in found if row["relname"].startswith(("calls_p", "attempts_p"))}


@on_postgres
async def test_months_that_are_old_as_a_whole_are_dropped(home: Home, ledger: Any) -> None:
    """With the adjustments of their calls; what is older in the month of the cut goes in batches."""
    database = home.database()
    await make_months(home, 150, 90)  # June and July, August …
    await ledger.sync_budgets([TOTAL])
    # 5 June, 25 and 5 July; 4, 14 and 30 August; today; and one of March, which has no partition.
    await settle(ledger, days_ago(170, 120, 140, 110, 100, 84, 0, 250))
    await reprice(database, prices(any=("3", "4")))

    where, done = await prune(home, 90)

    assert where.day == "2026-08-24"
    assert done.months == _JUNE_AND_JULY
    assert (done.calls, done.attempts, done.adjustments) == (6, 6, 6)
    assert done.bytes > 0
    assert "attempts_p2026_07" not in await month_tables(home)
    assert "attempts_p2026_08" in await month_tables(home)
    assert await _spent(ledger) == {"total": 8 * 3_400_000}
    assert await ledger.verify() == []
    assert (await rows(database, calls), await rows(database, attempts)) == (2, 2)
    await settle(ledger, days_ago(120))  # a late one finds the default partition
    assert await ledger.verify() == []


@on_postgres
async def test_an_attempt_that_began_in_the_next_month_goes_with_its_call(
    home: Home, ledger: Any
) -> None:
    """At the end of a month, the second attempt of a call may be in another partition."""
    database = home.database()
    await make_months(home, 150, 90)
    midnight = NOON_US - 114 * DAY_US + 12 * HOUR_US  # 1 August
    call = answered(0, at_us=midnight - 10_000_000)
    late = attempt(cost_nano=3, started_at_us=midnight + 5_000_000)
    call = with_attempts(call, attempt(cost_nano=2, started_at_us=midnight - 9_000_000), late)
    await settle(ledger, [replace(call, duration_us=20_000_000)])

    _, done = await prune(home, 90)

    assert (done.months, done.calls, done.attempts) == (_JUNE_AND_JULY, 1, 2)
    assert await rows(database, attempts) == 0


@on_postgres
async def test_a_month_with_an_attempt_of_a_call_that_stays_is_not_dropped(
    home: Home, ledger: Any
) -> None:
    """A clock that was set back puts an attempt before its call: the month's others go in batches."""
    database = home.database()
    await make_months(home, 150, 90)
    strange = with_attempts(answered(0), attempt(cost_nano=2, started_at_us=NOON_US - 130 * DAY_US))
    await settle(ledger, [strange, *days_ago(131, 129)])

    _, done = await prune(home, 90)

    assert (done.months, done.calls) == (_JUNE_AND_JULY[:1], 2)  # June was empty
    assert (await rows(database, calls), await rows(database, attempts)) == (1, 1)
    assert await ledger.verify() == []


@on_postgres
async def test_a_drop_waits_for_who_reads(
    home: Home, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that is under way is not cut short; the prune tries again until it is over."""
    waited = threading.Event()
    monkeypatch.setattr(prune_months, "time", SimpleNamespace(sleep=lambda _: waited.set()))
    await make_months(home, 150)
    await settle(ledger, days_ago(130))
    reading = await _reader(home.url or "")
    pruning = asyncio.create_task(prune(home, 90))

    assert await asyncio.to_thread(waited.wait, 10)
    assert not pruning.done()
    await reading()

    _, done = await pruning
    assert done.calls == 1


async def _reader(url: str) -> Any:
    import asyncpg  # noqa: PLC0415 - only here

    connection = await asyncpg.connect(url)
    await connection.execute("BEGIN; SELECT count(*) FROM calls")

    async def end() -> None:
        await connection.execute("COMMIT")
        await connection.close()

    return end
