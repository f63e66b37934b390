"""History is rated anew by adjusting entries, exactly, and a second time by none."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, func, select

from proxy.core.budgets import Scope
from proxy.core.call import Outcome
from proxy.core.usage import Usage, UsagePart, UsageSource
from proxy.store.call_filter import CallFilter
from proxy.store.records import Records
from proxy.store.reports import Reports, SpendQuery, read_groups
from proxy.store.reprice import LeftAlone, Line
from proxy.store.schema import adjustments, attempts, calls
from tests.ledger.homes import Home
from tests.ledger.past import answered, prices, reprice, settle, with_attempts
from tests.ledger.samples import DAY_US, HOUR_US, NOON_US, attempt, budget, principal, warning

pytestmark = pytest.mark.parametrize("home", ["sqlite", "postgres"], indirect=True)

ONE_AND_TWO = prices(any=("1", "2"))  # a call of 1,000 tokens in and 100 out costs 1,200,000
DEARER = prices(any=("3", "4"))  # and 3,400,000


async def spent(ledger: Any, budget_id: str = "team:search:month") -> list[tuple[int, int]]:
    """Spent and overdraft of a budget's windows of now."""
    views = {view.budget.id: view for view in await ledger.budgets()}
    return [(w.spent_nano, w.overdraft_nano) for w in views[budget_id].windows]


async def test_a_call_is_charged_what_its_time_s_prices_say(home: Home, ledger: Any) -> None:
    """The entry is the difference; windows, rollups and reports show the new charge, rows the old."""
    database = home.database()
    await ledger.sync_budgets([budget(10_000_000), warning(10)])
    await settle(ledger, [answered(1_200_000), answered(1_200_000, at_us=NOON_US - HOUR_US)])

    run = await reprice(database, DEARER)

    model = "gpt-5-mini-2026-08-07"
    assert run.tally.lines == {("search", model): Line(2, 2, 0, 2_400_000, 4_400_000)}
    assert await spent(ledger) == await spent(ledger, "team:search:day:warn") == [(6_800_000, 0)]
    assert await ledger.verify() == []
    rows = await database.fetch(select(calls.c.cost_nano))
    assert [row["cost_nano"] for row in rows] == [1_200_000, 1_200_000]


async def test_a_second_run_adjusts_nothing(home: Home, ledger: Any) -> None:
    """What was adjusted before counts, also where prices went up and down again."""
    database = home.database()
    await settle(ledger, [answered(1_200_000), answered(7)])
    await reprice(database, DEARER)

    again = await reprice(database, DEARER)

    assert again.tally.total == Line(2, 0, 0, 6_800_000, 0)
    back = await reprice(database, ONE_AND_TWO)
    assert back.tally.total.difference_nano == -4_400_000
    assert await ledger.verify() == []


async def test_a_dry_run_says_the_same_and_writes_nothing(home: Home, ledger: Any) -> None:
    database = home.database()
    await settle(ledger, [answered(1_200_000), answered(1_200_000)])

    dry = await reprice(database, DEARER, dry_run=True)

    assert await database.fetch(select(adjustments)) == []
    wet = await reprice(database, DEARER)
    assert dry.tally == wet.tally


async def test_every_way_to_look_at_it_shows_the_same_money(home: Home, ledger: Any) -> None:
    """Reports from rollups, from principals and from calls, the call itself, and the key's own view."""
    database = home.database()
    caller = principal(user="ann", run="r1", tags=(("env", "prod"),))
    call = answered(1_200_000, caller=caller)
    await settle(ledger, [call])
    await reprice(database, DEARER)

    for groups in ("", "team,model", "hour", "user", "run", "tag"):
        page = await Reports(database).spend(SpendQuery(read_groups(groups)), 10)
        assert [row.cost_usd for row in page.items] == ["0.0034"], groups
    detail = await Records(database).call(call.id)
    assert detail is not None
    assert (detail.cost_usd, detail.adjusted_usd) == ("0.0034", "0.0022")
    assert detail.attempt_rows[0].cost_usd == "0.0012"
    [correction] = detail.adjustments
    assert (correction.attempt, correction.amount_usd, correction.reason) == (
        1, "0.0022", "reprice",
    )  # fmt: skip
    assert [(c.what, c.quantity, c.price_nano_usd) for c in correction.charge] == [
        ("input", 1_000, "3000"),
        ("output", 100, "4000"),
    ]
    own = await ledger.call(call.id)
    assert (own.cost_nano, own.adjusted_nano) == (1_200_000, 2_200_000)


async def test_an_unpriced_call_gets_its_price(home: Home, ledger: Any) -> None:
    """It no longer counts as unpriced; one that nothing gives a price for still does."""
    database = home.database()
    await ledger.sync_budgets([budget(10_000_000)])
    known: dict[str, Any] = {"price_source": "unpriced", "price_version": "", "charge": ()}
    other = known | {"model": "private", "model_served": ""}
    await settle(ledger, [answered(0, **known), answered(0, **other)])

    run = await reprice(database, prices(**{"gpt-5-mini*": ("1", "2")}))

    assert run.tally.total == Line(2, 1, 1, 0, 1_200_000)
    assert run.tally.left == {LeftAlone.NO_PRICE: 1}
    for groups in ("team", "run"):  # from the rollups, and from the calls
        page = await Reports(database).spend(SpendQuery(read_groups(groups)), 10)
        assert [(row.unpriced, row.cost_usd) for row in page.items] == [(1, "0.0012")]
    assert await spent(ledger) == [(1_200_000, 0)]
    assert await ledger.verify() == []


async def test_a_call_that_turns_out_free_is_unpriced_no_more(home: Home, ledger: Any) -> None:
    """The entry adds nothing but says so: a second run does not say it again."""
    database = home.database()
    await settle(ledger, [answered(0, price_source="unpriced")])
    free = prices(any=("0", "0"))

    assert (await reprice(database, free)).tally.total == Line(1, 1, 1, 0, 0)

    assert (await reprice(database, free)).tally.total == Line(1, 0, 0, 0, 0)
    assert await ledger.verify() == []


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"usage_source": UsageSource.ESTIMATED}, {LeftAlone.ESTIMATED: 1}),
        ({"usage_source": UsageSource.NONE, "price_source": ""}, {}),
    ],
)
async def test_what_nobody_can_rate_is_left_alone(
    home: Home, ledger: Any, fields: dict[str, Any], left: dict[LeftAlone, int]
) -> None:
    """An estimate, an answer that was not metered."""
    await settle(ledger, [answered(55, **fields)])

    run = await reprice(home.database(), DEARER)

    assert (run.tally.total.changed, run.tally.left) == (0, left)


@pytest.mark.parametrize("stated", [{"stated_nano": 55}, {}])
async def test_what_the_provider_stated_is_charged_unless_a_contract_says_otherwise(
    home: Home, ledger: Any, stated: dict[str, Any]
) -> None:
    """As on the data path: a contract goes before it, and when it is gone the statement counts again."""
    database = home.database()
    await settle(ledger, [answered(55, price_source="provider", **stated)])

    unchanged = await reprice(database, prices())
    contract = await reprice(database, ONE_AND_TWO)
    back = await reprice(database, prices())

    assert (unchanged.tally.total.changed, unchanged.tally.left) == (0, {LeftAlone.STATED: 1})
    assert contract.tally.total.difference_nano == 1_200_000 - 55
    assert back.tally.total.difference_nano == 55 - 1_200_000
    assert await ledger.verify() == []


async def test_an_answer_in_parts_is_rated_part_by_part(home: Home, ledger: Any) -> None:
    """Each by its own model's price, and by the variants that its row names."""
    parts = (UsagePart("", Usage(input=600)), UsagePart("opus", Usage(input=400)))
    call = answered(0, usage=Usage(input=1_000), parts=parts, flags=("variant=us",))
    await settle(ledger, [call])
    book = _Recorded(prices(opus=("5", "9"), any=("1", "2")))

    await reprice(home.database(), book)  # type: ignore[arg-type]

    shown = await ledger.call(call.id)
    assert shown.attempts[0].parts == parts
    assert shown.adjusted_nano == 600 * 1_000 + 400 * 5_000
    served = call.attempts[0].model_served
    assert {(model, variants) for _, _, model, variants in book.asked} == {
        (served, ("us",)),
        ("opus", ("us",)),
    }


async def test_a_lost_call_is_left_alone(home: Home, ledger: Any) -> None:
    """Whatever its attempts say: its row is provisional, and may be replaced by the true one."""
    lost = replace(answered(55), outcome=Outcome.LOST)
    await settle(ledger, [lost])

    run = await reprice(home.database(), DEARER)

    assert (run.tally.total.changed, run.tally.left) == (0, {LeftAlone.ESTIMATED: 1})


async def test_each_attempt_is_rated_by_its_own_upstream_and_tier(home: Home, ledger: Any) -> None:
    """The tier that the answer named is in the attempt's flags."""
    book = _Recorded(ONE_AND_TWO)
    first = attempt(cost_nano=9, upstream="a", model="m1", model_served="", flags=("tier=flex",))
    second = attempt(cost_nano=9, upstream="b", model="m2", model_served="served")
    await settle(ledger, [with_attempts(answered(0), first, second)])

    await reprice(home.database(), book, providers={"a": "openai"})  # type: ignore[arg-type]

    assert book.asked == [("a", "openai", "m1", ("flex",)), ("b", "b", "served", ())]
    assert await ledger.verify() == []


class _Recorded:
    """A price book that remembers what it was asked."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self.asked: list[Any] = []

    def rates(self, query: Any, at_us: int) -> Any:
        """As the book says."""
        self.asked.append(tuple(query))
        return self._book.rates(query, at_us)

    def listed(self, query: Any, at_us: int) -> Any:
        """As the book says."""
        return self._book.listed(query, at_us)


async def test_a_filter_limits_what_is_rated(home: Home, ledger: Any) -> None:
    """By time (the end excluded), team, model and upstream."""
    database = home.database()
    mine, late = answered(1), answered(1, at_us=NOON_US + DAY_US)
    theirs = answered(1, caller=principal("billing", "b"))
    elsewhere = answered(1, upstream="local")
    await settle(ledger, [mine, late, theirs, elsewhere])
    wanted = CallFilter(
        team="search", upstream="openai", model="gpt-5-mini", to_us=NOON_US + DAY_US
    )

    run = await reprice(database, ONE_AND_TWO, wanted)

    assert run.tally.total.calls == 1
    [entry] = await database.fetch(select(adjustments.c.call_id))
    assert entry["call_id"] == mine.id


async def test_what_comes_in_over_the_limit_is_overdraft(home: Home, ledger: Any) -> None:
    """As with a settlement that is dearer than its hold; a lower price takes it back."""
    database = home.database()
    await ledger.sync_budgets([budget(2_000_000)])
    await settle(ledger, [answered(1_200_000)])

    await reprice(database, DEARER)

    assert await spent(ledger) == [(3_400_000, 1_400_000)]
    await reprice(database, ONE_AND_TWO)
    assert await spent(ledger) == [(1_200_000, 0)]


async def test_a_budget_that_comes_later_counts_adjustments_too(home: Home, ledger: Any) -> None:
    database = home.database()
    await settle(ledger, [answered(1_200_000)])
    await reprice(database, DEARER)

    await ledger.sync_budgets([budget(10_000_000, id="u", scope=Scope.KEY, subject="*")])

    assert await spent(ledger, "u") == [(3_400_000, 0)]
    assert await ledger.verify() == []


async def test_a_window_that_no_budget_counted_is_not_made(home: Home, ledger: Any) -> None:
    """A call of last month, and a budget of this one: its rows are counted when a call needs them."""
    database = home.database()
    await settle(ledger, [answered(1_200_000, at_us=NOON_US - 40 * DAY_US)])
    await ledger.sync_budgets([budget(10_000_000)])

    await reprice(database, DEARER)

    assert await ledger.verify() == []
    await settle(ledger, [answered(5, at_us=NOON_US - 40 * DAY_US)])
    assert await ledger.verify() == []


async def test_pages_are_cut_anywhere(home: Home, ledger: Any) -> None:
    """Also between calls that began at the same moment."""
    database = home.database()
    await settle(ledger, [answered(1, at_us=NOON_US + n // 3) for n in range(11)])

    run = await reprice(database, DEARER, page=2)

    assert (run.tally.total.calls, run.tally.total.changed) == (11, 11)
    assert await ledger.verify() == []


async def test_two_runs_at_once_adjust_once(home: Home, ledger: Any) -> None:
    """Whatever one has written, the other leaves out."""
    await ledger.sync_budgets([budget(10_000_000)])
    await settle(ledger, [answered(1_200_000) for _ in range(60)])

    runs = await asyncio.gather(*(reprice(home.database(), DEARER, page=7) for _ in range(3)))

    assert sum(run.tally.total.changed for run in runs) == 60
    assert await spent(ledger) == [(60 * 3_400_000, 60 * 3_400_000 - 10_000_000)]
    assert await ledger.verify() == []


async def test_a_call_that_went_meanwhile_is_left_out(home: Home, ledger: Any) -> None:
    """Between reading and writing, someone may prune."""
    database = home.database()
    await settle(ledger, [answered(1_200_000)])
    run_database = home.database()
    real_run = run_database.run

    async def prune_first(work: Any, *, writes: bool = True) -> Any:
        if writes:
            await database.run(lambda c: (c.execute(delete(attempts)), c.execute(delete(calls))))
        return await real_run(work, writes=writes)

    run_database.run = prune_first  # type: ignore[method-assign, assignment]
    run = await reprice(run_database, DEARER)

    assert run.tally.total.changed == 0
    [row] = await database.fetch(select(func.count().label("entries")).select_from(adjustments))
    assert row["entries"] == 0


async def test_servers_go_on_settling_meanwhile(home: Home, ledger: Any) -> None:
    """Neither waits for the other for long, and no sum is lost."""
    await ledger.sync_budgets(
        [budget(10**12), budget(10**12, id="u", scope=Scope.USER, subject="*")]
    )
    await settle(ledger, [answered(1_200_000, at_us=NOON_US - n * 1_000) for n in range(400)])
    database = home.database()

    async def serve() -> None:
        for n in range(150):
            await settle(ledger, [answered(10, caller=principal(user=f"u{n % 7}"))])

    before = CallFilter(to_us=NOON_US)
    _, run, _ = await asyncio.gather(serve(), reprice(database, DEARER, before, page=20), serve())

    assert run.tally.total.changed == 399
    assert await ledger.verify() == []
    assert await spent(ledger) == [(1_200_000 + 399 * 3_400_000 + 300 * 10, 0)]
