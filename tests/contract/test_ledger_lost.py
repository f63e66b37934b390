"""Processes that die, and those that only seem to, in every ledger."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.budgets import Refused
from proxy.core.call import CallRecord, Outcome
from proxy.core.reservation import Hold, HoldRequest
from proxy.core.usage import UsageSource
from proxy.ledger.base import now_us
from proxy.ledger.lost import LostPolicy
from tests.ledger.homes import Home
from tests.ledger.samples import (
    DAY_US,
    attempt,
    budget,
    pending,
    request,
    settlement,
)
from tests.ledger.steps import totals


async def lost_call(home: Home, asked: HoldRequest, **options: Any) -> tuple[Any, CallRecord]:
    """A call whose process died, after a sweep by another."""
    dead = await home.open()
    assert isinstance(await dead.reserve(asked), Hold)
    alive = await home.open(**options)
    assert await alive.sweep(_far_future(home)) == 1
    assert await alive.sweep(_far_future(home)) == 0
    found = await alive.call(asked.record.id)
    assert found is not None
    return alive, found


def _far_future(home: Home) -> int:
    return max(home.clock.now_us, now_us()) + DAY_US


@pytest.mark.parametrize(
    ("policy", "cost"),
    [
        (LostPolicy.CHARGE_ESTIMATE, 120),
        (LostPolicy.CHARGE_HOLD, 500),
        (LostPolicy.RELEASE, 0),
    ],
)
async def test_a_hold_whose_process_died_is_settled_by_policy(
    home: Home, policy: LostPolicy, cost: int
) -> None:
    """Once, as a row marked lost, with its attempts as they were last noted."""
    first = await home.open()
    await first.sync_budgets([budget(1_000)])
    asked = request(500, estimate_nano=120)

    alive, found = await lost_call(home, asked, lost=policy)

    assert (found.outcome, found.cost_nano) == (Outcome.LOST, cost)
    assert [(a.number, a.error, a.usage_source) for a in found.attempts] == [
        (1, "lost", UsageSource.ESTIMATED)
    ]
    assert await totals(alive) == (cost, 0, 0)
    assert await alive.verify() == []


async def test_holds_of_the_living_are_left_alone(home: Home) -> None:
    """A sweep takes only what was not heard of for a lease, and never one's own."""
    one, other = await home.open(), await home.open()
    await one.reserve(request(500))
    await other.reserve(request(500))

    assert await other.sweep() == 0
    assert await other.sweep(_far_future(home)) == 1


async def test_a_process_that_stops_leaves_nothing_open(home: Home) -> None:
    """What it still held is swept at once, without waiting for the lease."""
    stopping, other = await home.open(), await home.open()
    asked = request(500, estimate_nano=10)
    await stopping.reserve(asked)

    await stopping.stop()

    assert await other.sweep() == 1
    assert (await other.call(asked.record.id)).outcome == Outcome.LOST


async def test_a_late_settlement_replaces_the_row_of_a_lost_call(home: Home) -> None:
    """The process was only paused: totals and rollups end as if it had never been thought dead."""
    first = await home.open()
    await first.sync_budgets([budget(1_000)])
    asked = request(500, estimate_nano=120)
    alive, _ = await lost_call(home, asked)

    await first.settle(settlement(asked, 333))
    await first.settle(settlement(asked, 444))

    assert await alive.call(asked.record.id) == settlement(asked, 333).record
    assert await totals(alive) == (333, 0, 0)
    assert await alive.verify() == []


async def test_a_late_settlement_that_does_not_fit_any_more_is_overdraft(home: Home) -> None:
    """The room between what it was charged as lost and what it really cost is another's by now."""
    first = await home.open()
    await first.sync_budgets([budget(1_000)])
    asked = request(500, estimate_nano=120)
    alive, _ = await lost_call(home, asked)
    other = request(800)
    hold = await alive.reserve(other)
    assert isinstance(hold, Hold)

    await first.settle(settlement(asked, 333))
    late = await totals(alive)
    refused = await alive.reserve(request(0))
    await alive.settle(settlement(other, 800, hold))

    assert late == (333, 800, 133)
    assert isinstance(refused, Refused)
    assert await totals(alive) == (1_133, 0, 133)
    assert await alive.verify() == []


async def test_a_late_settlement_that_fits_is_no_overdraft(home: Home) -> None:
    first = await home.open()
    await first.sync_budgets([budget(1_000)])
    asked = request(500, estimate_nano=120)
    alive, _ = await lost_call(home, asked)
    assert isinstance(await alive.reserve(request(600)), Hold)

    await first.settle(settlement(asked, 333))

    assert await totals(alive) == (333, 600, 0)


async def test_a_further_attempt_is_in_the_row_of_a_lost_call(home: Home) -> None:
    """Noted before it was sent, so that no crash loses it; also after a sweep."""
    process = await home.open()
    asked = request(500, estimate_nano=50)
    hold = await process.reserve(asked)
    failed = attempt(1, status=503, usage_source=UsageSource.NONE, error="status_503")
    second = replace(asked.record, attempts=(failed, pending(2)))
    await process.attempt(hold, second)

    other = await home.open()
    await other.sweep(_far_future(home))
    third = replace(second, attempts=(*second.attempts, pending(3)))
    swept = await other.call(asked.record.id)
    await process.attempt(hold, third)
    again = await other.call(asked.record.id)

    assert [a.error for a in swept.attempts] == ["status_503", "lost"]
    assert [a.error for a in again.attempts] == ["status_503", "lost", "lost"]
    assert (swept.cost_nano, again.cost_nano) == (50, 50)
    assert await other.verify() == []


async def test_what_earlier_attempts_cost_is_charged_beside_the_estimate(home: Home) -> None:
    """The estimate is of the attempt that was under way; never more than the call held."""
    process, other = await home.open(), await home.open()
    timed_out = attempt(1, status=None, error="timeout", cost_nano=30)
    charged = []
    for amount in (500, 60):
        asked = request(amount, estimate_nano=50)
        hold = await process.reserve(asked)
        await process.attempt(hold, replace(asked.record, attempts=(timed_out, pending(2))))
        await other.sweep(_far_future(home))
        swept = await other.call(asked.record.id)
        charged.append([a.cost_nano for a in swept.attempts])

    assert charged == [[30, 50], [30, 30]]
    assert await other.verify() == []


async def test_several_processes_sweep_a_hold_once(home: Home) -> None:
    """Whoever comes second finds nothing."""
    dead = await home.open()
    for _ in range(20):
        await dead.reserve(request(500, estimate_nano=7))
    sweepers = [await home.open() for _ in range(3)]
    await sweepers[0].sync_budgets([budget(100_000)])

    await asyncio.gather(*(ledger.sweep(_far_future(home)) for ledger in sweepers))

    assert await totals(sweepers[0]) == (20 * 7, 0, 0)
    assert await sweepers[0].verify() == []
