"""Budgets that come, go and change while calls are under way, in every ledger."""

import dataclasses
from typing import Any

import pytest

from proxy.core.budgets import Refused, Window
from proxy.core.errors import InvalidRequest
from proxy.core.reservation import Hold
from tests.ledger.homes import Home
from tests.ledger.samples import (
    DAY_US,
    HOUR_US,
    NOON_US,
    budget,
    principal,
    request,
    settlement,
    warning,
)
from tests.ledger.steps import spend, totals


async def test_a_new_budget_counts_what_was_spent_and_is_held_already(ledger: Any) -> None:
    """Added in mid-month, it starts with the month's charges and the open holds."""
    await spend(ledger, 500, 300)
    await spend(ledger, 500, 40, caller=principal("other"))
    await spend(ledger, 500, 5_000, started_at_us=NOON_US - 40 * DAY_US)
    open_call = request(200)
    hold = await ledger.reserve(open_call)

    await ledger.set_budget(budget(1_000), "ann")

    assert await totals(ledger) == (300, 200, 0)
    assert await ledger.verify() == []
    await ledger.settle(settlement(open_call, 150, hold))
    assert await totals(ledger) == (450, 0, 0)
    assert await ledger.verify() == []


async def test_a_removed_budget_takes_its_windows_with_it(ledger: Any) -> None:
    """Added again, it counts anew; a hold from before is given back to it only once."""
    await ledger.set_budget(budget(1_000), "ann")
    asked = request(200)
    hold = await ledger.reserve(asked)
    await spend(ledger, 100, 60)

    assert await ledger.remove_budget("team:search:month", "ann")
    assert not await ledger.remove_budget("team:search:month", "ann")
    assert await ledger.budgets() == []
    assert await ledger.verify() == []
    await ledger.set_budget(budget(1_000), "ann")
    assert await totals(ledger) == (60, 200, 0)
    await ledger.settle(settlement(asked, 10, hold))

    assert await totals(ledger) == (70, 0, 0)
    assert await ledger.verify() == []


async def test_a_new_limit_keeps_the_windows(ledger: Any) -> None:
    """Only the limit changes; the next call is decided by it."""
    await ledger.sync_budgets([budget(1_000)])
    await spend(ledger, 500, 400)

    await ledger.set_budget(budget(450), "ann")

    assert await totals(ledger) == (400, 0, 0)
    assert isinstance(await ledger.reserve(request(51)), Refused)
    assert isinstance(await ledger.reserve(request(50)), Hold)


async def test_a_budget_that_covers_other_calls_is_counted_anew(ledger: Any) -> None:
    """Its old windows say nothing of what it covers now."""
    await ledger.sync_budgets([budget(1_000)])
    await spend(ledger, 500, 400)
    await spend(ledger, 500, 30, caller=principal("ads"))

    await ledger.sync_budgets([dataclasses.replace(budget(1_000), subject="ads")])

    assert await totals(ledger) == (30, 0, 0)
    assert await ledger.verify() == []


async def test_an_edit_stays_until_the_configuration_says_something_else(ledger: Any) -> None:
    """An edit through the API outlives a restart, not a change of the same budget's words."""

    async def limit() -> int:
        (view,) = await ledger.budgets()
        return int(view.budget.limit_nano)

    await ledger.sync_budgets([budget(1_000)])
    await ledger.set_budget(budget(7_000), "ann")

    await ledger.sync_budgets([budget(1_000)])
    assert await limit() == 7_000
    await ledger.sync_budgets([budget(2_000)])
    assert await limit() == 2_000


async def test_budgets_come_and_go_with_the_configuration_but_for_those_of_the_api(
    ledger: Any,
) -> None:
    """What vanished from the file is removed; what the API made stays."""
    await ledger.sync_budgets([budget(1_000), warning(10)])
    await ledger.set_budget(budget(5, "ads"), "ann")

    await ledger.sync_budgets([warning(10)])

    found = [(view.budget.id, view.origin) for view in await ledger.budgets()]
    assert found == [("team:ads:month", "api"), ("team:search:day:warn", "configuration")]
    with pytest.raises(InvalidRequest, match="configuration"):
        await ledger.remove_budget("team:search:day:warn", "ann")


async def test_every_process_knows_of_a_change_at_once(home: Home) -> None:
    """A budget that one process sets holds for the next call in another."""
    one, other = await home.open(), await home.open()
    assert isinstance(await other.reserve(request(500)), Hold)

    await one.set_budget(budget(600), "ann")

    assert isinstance(await other.reserve(request(101)), Refused)
    assert isinstance(await other.reserve(request(100)), Hold)
    assert await one.verify() == []


async def test_a_late_call_of_an_older_window_is_counted_with_the_others_of_it(
    ledger: Any, home: Home
) -> None:
    """A window from before the budget is counted from its rows when a call first touches it."""
    yesterday = NOON_US - DAY_US
    await spend(ledger, 500, 300, started_at_us=yesterday)
    late = request(200, started_at_us=yesterday + HOUR_US)
    await ledger.sync_budgets([budget(1_000, window=Window.DAY)])

    hold = await ledger.reserve(late)
    assert isinstance(hold, Hold)
    home.clock.now_us = yesterday
    assert await totals(ledger) == (300, 200, 0)
    await ledger.settle(settlement(late, 100, hold))

    assert await totals(ledger) == (400, 0, 0)
    assert await ledger.verify() == []
