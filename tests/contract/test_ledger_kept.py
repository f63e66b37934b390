"""What goes on when its call is over keeps its hold, in every ledger: a batch, until it is metered."""

import asyncio
from typing import Any

from msgspec.structs import replace

from proxy.core.budgets import Refused, Scope
from proxy.core.call import Outcome, new_call_id
from proxy.core.reservation import Hold, HoldRequest, Kept, Settlement
from tests.ledger.homes import Home
from tests.ledger.samples import DAY_US, NOON_US, budget, request, settlement
from tests.ledger.steps import totals

UNTIL_US = NOON_US + 10_000 * DAY_US  # PostgreSQL tells the time by itself


def kept(asked: HoldRequest, estimate_nano: int = 0) -> Kept:
    """What goes on of a call."""
    record = replace(asked.record, id=new_call_id(NOON_US * 1000))
    return Kept(record, estimate_nano, UNTIL_US)


async def begun(ledger: Any, amount_nano: int, estimate_nano: int = 0) -> Kept:
    """A batch that was submitted and is under way: its call cost nothing."""
    asked = request(amount_nano)
    hold = await ledger.reserve(asked)
    assert isinstance(hold, Hold)
    goes_on = kept(asked, estimate_nano)
    await ledger.settle(replace(settlement(asked, 0, hold), keeps=goes_on))
    return goes_on


def line(of: Kept, cost_nano: int) -> Settlement:
    """One answer of a batch."""
    return replace(settlement(request(0), cost_nano), draws_on=("fb-none", of.record.id))


async def test_a_hold_goes_on_when_its_call_is_over(ledger: Any) -> None:
    """The call has its row, and the money stays set aside: another call can't have it."""
    await ledger.sync_budgets([budget(1_000)])
    goes_on = await begun(ledger, 700)

    refused = await ledger.reserve(request(400))

    assert isinstance(refused, Refused)
    assert await totals(ledger) == (0, 700, 0)
    assert await ledger.call(goes_on.record.id) is None
    assert await ledger.verify() == []


async def test_each_line_is_charged_to_what_is_held(ledger: Any) -> None:
    """Once, whoever says it again; what is left is given back, once."""
    await ledger.sync_budgets([budget(1_000)])
    goes_on = await begun(ledger, 700)
    first, second = line(goes_on, 100), line(goes_on, 250)

    for end in (first, first, second, first):
        await ledger.settle(end)
    under_way = await totals(ledger)
    for _ in range(2):
        await ledger.give_back(goes_on.record.id)
    await ledger.settle(second)

    assert under_way == (350, 350, 0)
    assert await totals(ledger) == (350, 0, 0)
    assert await ledger.verify() == []


async def test_lines_that_come_together(ledger: Any) -> None:
    """In one transaction, with the hold that they draw on and its end."""
    await ledger.sync_budgets([budget(1_000)])
    goes_on = await begun(ledger, 700)

    await asyncio.gather(
        *(ledger.settle(line(goes_on, 10)) for _ in range(20)),
        ledger.give_back(goes_on.record.id),
    )

    assert await totals(ledger) == (200, 0, 0)
    assert await ledger.verify() == []


async def test_what_costs_more_than_is_held_is_overdraft(ledger: Any) -> None:
    await ledger.sync_budgets([budget(1_000)])
    goes_on = await begun(ledger, 300)
    assert isinstance(await ledger.reserve(request(700)), Hold)

    await ledger.settle(line(goes_on, 200))
    await ledger.settle(line(goes_on, 150))

    assert await totals(ledger) == (350, 700, 50)
    assert await ledger.verify() == []


async def test_it_outlives_its_process(home: Home) -> None:
    """Until its time is up, whoever has died; then it is lost, by policy."""
    dead = await home.open()
    await dead.sync_budgets([budget(1_000)])
    goes_on = await begun(dead, 700, estimate_nano=120)
    await home.kill(dead)
    alive = await home.open()

    swept = [await alive.sweep(at_us) for at_us in (UNTIL_US, UNTIL_US + 1, UNTIL_US + 2)]

    assert swept == [0, 1, 0]
    found = await alive.call(goes_on.record.id)
    assert (found.outcome, found.cost_nano) == (Outcome.LOST, 120)
    assert await totals(alive) == (120, 0, 0)
    assert await alive.verify() == []


async def test_lines_that_come_late_replace_the_row_of_a_lost_batch(home: Home) -> None:
    """Its results are there after all: they are charged, and its estimate no more."""
    ledger, other = await home.open(), await home.open()
    await ledger.sync_budgets([budget(1_000), budget(900, "*", id="models", scope=Scope.MODEL)])
    goes_on = await begun(ledger, 700, estimate_nano=120)
    await ledger.sweep(UNTIL_US + 1)

    for end in (line(goes_on, 30), line(goes_on, 40)):
        await other.settle(end)

    assert await ledger.call(goes_on.record.id) is None
    assert await totals(ledger) == (70, 0, 0)
    assert await ledger.verify() == []


async def test_a_call_that_is_settled_twice_keeps_its_hold_once(ledger: Any) -> None:
    """As from a spool, after the database had it already."""
    await ledger.sync_budgets([budget(1_000)])
    asked = request(700)
    await ledger.reserve(asked)
    end = replace(settlement(asked, 0), keeps=kept(asked))

    await asyncio.gather(ledger.settle(end), ledger.settle(end))
    await ledger.settle(end)

    assert await totals(ledger) == (0, 700, 0)
    assert await ledger.verify() == []
