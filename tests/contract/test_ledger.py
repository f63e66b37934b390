"""What every ledger must do with calls: the same tests in memory, on SQLite and on PostgreSQL."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.budgets import EACH, Refused, Scope, Window
from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold, Settlement
from proxy.core.usage import Usage
from tests.ledger.homes import Home
from tests.ledger.samples import (
    DAY_US,
    NOON_US,
    attempt,
    budget,
    principal,
    refusal,
    request,
    settlement,
    warning,
)
from tests.ledger.steps import spend, totals

# Holds


async def test_a_hold_is_held_until_its_call_is_settled(ledger: Any) -> None:
    """The hold counts as held; its settlement turns it into what the call cost."""
    await ledger.sync_budgets([budget(1_000)])
    asked = request(600)

    hold = await ledger.reserve(asked)

    assert (hold.call_id, hold.amount_nano, hold.warnings) == (asked.record.id, 600, ())
    assert [key.budget_id for key in hold.windows] == ["team:search:month"]
    assert await totals(ledger) == (0, 600, 0)
    await ledger.settle(settlement(asked, 250, hold))
    assert await totals(ledger) == (250, 0, 0)
    assert await ledger.verify() == []


async def test_what_does_not_fit_is_refused_and_says_why(ledger: Any) -> None:
    """Spent + held + amount ≤ limit; a refusal leaves nothing behind."""
    await ledger.sync_budgets([budget(1_000)])
    await spend(ledger, 500, 300)
    await ledger.reserve(request(600))

    answer = await ledger.reserve(request(101))

    assert isinstance(answer, Refused)
    assert (answer.spent_nano, answer.held_nano, answer.available_nano) == (300, 600, 100)
    assert answer.waitable
    assert answer.resets_at_iso == "2026-12-01T00:00:00Z"
    assert isinstance(await ledger.reserve(request(100)), Hold)
    assert await ledger.verify() == []


async def test_every_budget_over_a_call_must_have_room(ledger: Any) -> None:
    """The tightest of the blocking budgets decides."""
    key = budget(50, "search-prod", id="key", scope=Scope.KEY, window=Window.DAY)
    await ledger.sync_budgets([budget(1_000), key])

    answer = await ledger.reserve(request(60))

    assert isinstance(answer, Refused)
    assert (answer.budget.id, answer.subject) == ("key", "search-prod")
    assert await totals(ledger) == (0, 0, 0)


async def test_a_warning_budget_lets_the_call_through_and_says_so(ledger: Any) -> None:
    """The hold names the warn budgets that it puts over their limit."""
    await ledger.sync_budgets([warning(100)])

    within = await ledger.reserve(request(100))
    over = await ledger.reserve(request(1))

    assert (within.warnings, over.warnings) == ((), ("team:search:day:warn",))


async def test_an_exempt_call_asks_no_budget(ledger: Any) -> None:
    """It is let through where nothing else is, and leaves a row all the same."""
    await ledger.sync_budgets([budget(0)])
    asked = request(0, exempt=True)

    hold = await ledger.reserve(asked)
    await ledger.settle(settlement(asked, 0, hold))

    assert hold.windows == ()
    assert await ledger.call(asked.record.id) is not None
    assert await ledger.verify() == []


async def test_a_call_without_a_price_meets_each_budgets_policy(ledger: Any) -> None:
    """What decide() says of an unpriced or unbounded call is what the ledger answers."""
    await ledger.sync_budgets([budget(1_000, unbounded="reserve", unbounded_nano=400)])

    unpriced = await ledger.reserve(request(0, unpriced=True))
    unbounded = await ledger.reserve(request(100, unbounded=True))

    assert isinstance(unpriced, Refused)
    assert unpriced.reason == "unpriced"
    assert unbounded.amount_nano == 500
    assert await totals(ledger) == (0, 500, 0)


async def test_each_subject_has_a_window_of_its_own(ledger: Any) -> None:
    """A budget for "*" gives every user their own limit."""
    each = budget(100, EACH, id="users", scope=Scope.USER)
    await ledger.sync_budgets([each])
    await spend(ledger, 100, 90, caller=principal(user="ann"))
    await spend(ledger, 100, 70, caller=principal(user="bob"))

    (view,) = await ledger.budgets()

    assert [(w.subject, w.spent_nano) for w in view.windows] == [("ann", 90), ("bob", 70)]
    assert await ledger.verify() == []


async def test_a_second_hold_of_one_call_is_an_error_of_its_own(ledger: Any) -> None:
    """It fails alone: what is written in the same transaction is not touched by it."""
    await ledger.sync_budgets([budget(1_000)])
    asked = request(10)
    await ledger.reserve(asked)

    answers = await asyncio.gather(
        ledger.reserve(request(20)),
        ledger.reserve(asked),
        ledger.reserve(request(30)),
        return_exceptions=True,
    )

    assert [isinstance(a, Hold) for a in answers] == [True, False, True]
    assert isinstance(answers[1], LedgerError)
    assert await totals(ledger) == (0, 60, 0)
    assert await ledger.verify() == []


# Settlements


async def test_a_second_settlement_changes_nothing(ledger: Any) -> None:
    """Exactly once, by call id."""
    await ledger.sync_budgets([budget(1_000)])
    asked = await spend(ledger, 500, 300)

    await ledger.settle(settlement(asked, 999))
    await asyncio.gather(*(ledger.settle(settlement(asked, 5)) for _ in range(4)))

    assert await totals(ledger) == (300, 0, 0)
    assert (await ledger.call(asked.record.id)).cost_nano == 300
    assert await ledger.verify() == []


async def test_a_call_is_read_back_as_it_was_settled(ledger: Any) -> None:
    """Every field of the record and of its attempts comes back."""
    caller = principal(user="ann", workflow="nightly", run="r-7", tags=(("env", "prod"), ("a", "")))
    asked = request(500, caller)
    hold = await ledger.reserve(asked)
    failed = attempt(1, status=503, error="status_503", cost_nano=0, charge=(), flags=("late",))
    ended = replace(
        settlement(asked, 0, hold),
        record=replace(
            asked.record,
            output_cap=1_000,
            duration_us=123,
            first_byte_us=45,
            overhead_us=6,
            held_nano=500,
            attempts=(failed, attempt(2, 77, status=None, first_byte_us=None, error="in_stream")),
        ),
    )

    await ledger.settle(ended)

    assert await ledger.call(asked.record.id) == ended.record
    assert await ledger.call("fb-nobody") is None


async def test_a_refused_call_leaves_a_row_and_counts_in_the_rollups(ledger: Any) -> None:
    """It never had a hold."""
    await ledger.sync_budgets([budget(1_000)])
    refused = refusal()

    await ledger.settle(refused)
    await ledger.settle(refused)

    assert await ledger.call(refused.record.id) == refused.record
    assert await ledger.verify() == []


async def test_what_goes_over_the_limit_is_charged_in_full_and_shown(ledger: Any) -> None:
    """The part over a blocking limit is the overdraft, and blocks what comes next."""
    await ledger.sync_budgets([budget(1_000), warning(10)])
    await spend(ledger, 900, 800)
    await spend(ledger, 200, 350)

    answer = await ledger.reserve(request(0))

    assert await totals(ledger) == (1_150, 0, 150)
    assert await totals(ledger, "team:search:day:warn") == (1_150, 0, 0)
    assert isinstance(answer, Refused)
    assert not answer.waitable


async def test_a_call_is_charged_to_the_window_it_started_in(ledger: Any, home: Home) -> None:
    """Held and spent over midnight: both belong to the day of the start."""
    day = budget(1_000, window=Window.DAY)
    await ledger.sync_budgets([day])
    asked = request(600)
    hold = await ledger.reserve(asked)
    home.clock.now_us += DAY_US
    assert isinstance(await ledger.reserve(request(900, started_at_us=NOON_US + DAY_US)), Hold)

    await ledger.settle(settlement(asked, 500, hold))

    assert await totals(ledger) == (0, 900, 0)
    home.clock.now_us -= DAY_US
    assert await totals(ledger) == (500, 0, 0)
    assert await ledger.verify() == []


# Many at once


async def test_at_the_edge_exactly_what_fits_is_admitted(home: Home) -> None:
    """Two processes, 120 calls at once, room for 50: spent + held never passes the limit."""
    one, other = await home.open(), await home.open()
    await one.sync_budgets([budget(5_000)])

    answers = await asyncio.gather(
        *((one if i % 2 else other).reserve(request(100)) for i in range(120))
    )

    assert sum(isinstance(answer, Hold) for answer in answers) == 50
    assert await totals(one) == (0, 5_000, 0)
    assert await one.verify() == []


async def test_a_wait_for_room_ends_when_something_is_given_back(ledger: Any) -> None:
    """At once for a settlement of this process, and at the latest when the time is up."""
    asked = request(10)
    hold = await ledger.reserve(asked)
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(ledger.released(30))
    await asyncio.sleep(0)

    await ledger.settle(settlement(asked, 5, hold))
    await asyncio.wait_for(waiting, 5)

    began = loop.time()
    await ledger.released(30)
    assert loop.time() - began < 5  # it looks again by itself: another process may have settled
    await ledger.released(0)


async def test_a_hold_that_nobody_waited_for_is_given_back(ledger: Any) -> None:
    """A caller that leaves while its hold is made leaves nothing held."""
    await ledger.sync_budgets([budget(1_000)])
    tasks = [asyncio.ensure_future(ledger.reserve(request(10))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    known = sum(10 for end in ends if isinstance(end, Hold))

    await spend(ledger, 10, 1)
    await spend(ledger, 10, 1)

    assert await totals(ledger) == (2, known, 0)
    assert await ledger.verify() == []


async def test_a_closed_ledger_says_so(ledger: Any) -> None:
    """Nothing hangs on it."""
    await ledger.stop()

    with pytest.raises(LedgerError):
        await ledger.reserve(request(1))


@pytest.mark.parametrize(
    "bad", [{"user": "a\0b"}, {"user": "half \ud83d of a pair"}, {"run": "\ud83d\ude00"}]
)
async def test_names_that_no_database_takes_are_mended(ledger: Any, bad: dict[str, str]) -> None:
    """A client's strange words cost neither its own call nor those beside it their rows."""
    await ledger.sync_budgets([budget(1_000), budget(900, EACH, id="users", scope=Scope.USER)])
    strange, plain = request(100, principal(**bad)), request(100)

    holds = await asyncio.gather(ledger.reserve(strange), ledger.reserve(plain))
    await asyncio.gather(
        ledger.settle(settlement(strange, 40, holds[0])),
        ledger.settle(settlement(plain, 30, holds[1])),
    )

    assert await totals(ledger) == (70, 0, 0)
    assert (await ledger.call(strange.record.id)).cost_nano == 40
    assert await ledger.verify() == []


async def test_counts_beyond_a_databases_are_cut(ledger: Any) -> None:
    """A provider that reports 10^30 tokens does not keep its call from being settled."""
    asked = request(100)
    hold = await ledger.reserve(asked)
    usage = Usage(input=10**30)
    ended = replace(settlement(asked, 40, hold).record, attempts=(attempt(1, 40, usage=usage),))

    await ledger.settle(Settlement(ended, asked.principal, hold, asked.model))

    assert (await ledger.call(asked.record.id)).cost_nano == 40
