"""Budgets: whom they cover, where windows begin and end, and what fits."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.budgets import (
    Admitted,
    Budget,
    OnExceed,
    Refused,
    Scope,
    Window,
    WindowKey,
    WindowState,
    charge,
    decide,
    window_bounds,
)
from proxy.core.call import Key, Principal, Team

PRINCIPAL = Principal(
    Key("k1", "prod", Team("search", organisation="acme")),
    user="ada",
    workflow="nightly",
    run="r7",
    tags=(("env", "test"), ("tier", "gold")),
)


def budget(**changes: object) -> Budget:
    values: dict[str, object] = {
        "id": "b",
        "scope": Scope.TEAM,
        "subject": "search",
        "limit_nano": 100,
        "window": Window.MONTH,
    }
    return Budget(**(values | changes))  # type: ignore[arg-type]


def window(limit: int = 100, spent: int = 0, held: int = 0, **changes: object) -> WindowState:
    of = budget(limit_nano=limit, **changes)
    return WindowState(WindowKey(of.id, of.subject, 0), of, 3600, spent, held)


def us(*moment: int, zone: str = "UTC") -> int:
    return int(datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


# Whom a budget covers


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        (Scope.TEAM, "search"),
        (Scope.ORGANISATION, "acme"),
        (Scope.KEY, "prod"),
        (Scope.USER, "ada"),
        (Scope.WORKFLOW, "nightly"),
        (Scope.RUN, "r7"),
        (Scope.MODEL, "gpt-5"),
        (Scope.TAG, "env=test"),
    ],
)
def test_a_budget_covers_the_calls_of_its_subject_and_no_others(scope: Scope, subject: str) -> None:
    """A budget names one subject of one scope; another subject's calls are not its business."""
    assert budget(scope=scope, subject=subject).subjects(PRINCIPAL, "gpt-5") == (subject,)
    assert budget(scope=scope, subject="another").subjects(PRINCIPAL, "gpt-5") == ()


def test_a_star_gives_every_value_its_own_window() -> None:
    """With the subject "*", each user has a window; a call with two tags falls under both."""
    assert budget(scope=Scope.USER, subject="*").subjects(PRINCIPAL, "m") == ("ada",)
    assert budget(scope=Scope.TAG, subject="*").subjects(PRINCIPAL, "m") == (
        "env=test",
        "tier=gold",
    )


def test_a_call_without_the_attribute_is_not_covered_by_a_star() -> None:
    """Nobody is nobody's user: an empty value has no window."""
    anonymous = Principal(PRINCIPAL.key)
    assert budget(scope=Scope.USER, subject="*").subjects(anonymous, "m") == ()


def test_a_budget_can_be_narrowed_to_a_team() -> None:
    """A user budget of one team does not count that user's calls for another team."""
    assert budget(scope=Scope.USER, subject="ada", team="search").subjects(PRINCIPAL, "m")
    assert not budget(scope=Scope.USER, subject="ada", team="other").subjects(PRINCIPAL, "m")


# Windows


@pytest.mark.parametrize(
    ("kind", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", (2026, 11, 22, 4, 59, 59), (2026, 11, 22, 4), (2026, 11, 22, 5)),
        ("day", "UTC", (2026, 11, 22, 23, 59, 59), (2026, 11, 22), (2026, 11, 23)),
        ("week", "UTC", (2026, 11, 22, 12), (2026, 11, 16), (2026, 11, 23)),
        ("week", "UTC", (2026, 11, 23), (2026, 11, 23), (2026, 11, 30)),
        ("month", "UTC", (2026, 12, 31, 23), (2026, 12, 1), (2027, 1, 1)),
        ("day", "Asia/Kathmandu", (2026, 11, 22, 0, 10), (2026, 11, 22), (2026, 11, 23)),
        ("month", "America/New_York", (2026, 11, 30, 23), (2026, 11, 1), (2026, 12, 1)),
    ],
)
def test_windows_follow_the_calendar_of_their_zone(
    kind: str, zone: str, at: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    """A window is the calendar's hour, day, week (from Monday) or month in the budget's zone."""
    expected = tuple(us(*moment, zone=zone) // 1_000_000 for moment in (start, end))
    assert window_bounds(Window(kind), zone, us(*at, zone=zone)) == expected


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)]
)
def test_a_day_of_a_clock_change_is_shorter_or_longer(
    day: tuple[int, int, int], hours: int
) -> None:
    """A day lasts from midnight to midnight of its zone, whatever the clocks do."""
    start, end = window_bounds(Window.DAY, "Europe/Berlin", us(*day, 12, zone="Europe/Berlin"))
    assert end is not None
    assert end - start == hours * 3600


def test_a_total_never_ends() -> None:
    """A total budget has one window, from the beginning of time."""
    assert window_bounds(Window.TOTAL, "UTC", us(2026, 1, 1)) == (0, None)


@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001 - a zone is added
    kind=st.sampled_from([Window.HOUR, Window.DAY, Window.WEEK, Window.MONTH]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
)
def test_windows_have_no_gaps_and_no_overlaps(at: datetime, kind: Window, zone: str) -> None:
    """Every moment lies in its window, and the next window begins where this one ends."""
    moment = int(at.replace(tzinfo=UTC).timestamp())
    start, end = window_bounds(kind, zone, moment * 1_000_000)
    assert end is not None
    assert start <= moment < end
    assert window_bounds(kind, zone, end * 1_000_000)[0] == end
    assert window_bounds(kind, zone, (end - 1) * 1_000_000) == (start, end)


# Admission


def test_what_fits_to_the_last_nano_dollar_is_admitted() -> None:
    """Spent + held + amount may equal the limit."""
    assert decide([window(spent=60, held=30)], 10) == Admitted(10)


def test_one_nano_dollar_more_is_refused_and_says_what_is_left() -> None:
    """A refusal names the budget, what was spent and held, and the largest hold that would fit."""
    answer = decide([window(spent=60, held=30)], 11)
    assert isinstance(answer, Refused)
    assert (answer.spent_nano, answer.held_nano, answer.available_nano) == (60, 30, 10)
    assert answer.waitable


def test_a_refusal_is_not_worth_waiting_for_when_the_money_is_spent() -> None:
    """Only other calls' holds may be given back; what is spent is spent."""
    answer = decide([window(spent=95)], 11)
    assert isinstance(answer, Refused)
    assert not answer.waitable


def test_the_tightest_of_several_budgets_refuses() -> None:
    """The refusal names the window with the least left, and every blocking window bounds the wait."""
    answer = decide([window(1000), window(50, spent=45, id="tight"), window(60)], 10)
    assert isinstance(answer, Refused)
    assert (answer.budget.id, answer.available_nano, answer.waitable) == ("tight", 5, False)


def test_a_warning_budget_never_refuses() -> None:
    """A warn budget that would be overrun is named in the admission."""
    over = window(5, on_exceed=OnExceed.WARN, id="soft")
    assert decide([over, window(100)], 10) == Admitted(10, ("soft",))


def test_unpriced_and_unbounded_calls_meet_the_policy_of_blocking_budgets() -> None:
    """Rejected by default; allowed as they are, or with the policy's amount on top."""
    for flag in ("unpriced", "unbounded"):
        answer = decide([window()], 0, **{flag: True})
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.waitable) == (flag, False)
    assert decide([window(unpriced="allow")], 0, unpriced=True) == Admitted(0)
    assert decide([window(unbounded="allow")], 7, unbounded=True) == Admitted(7)
    reserve = window(unbounded="reserve", unbounded_nano=20)
    assert decide([reserve], 7, unbounded=True) == Admitted(27)
    assert isinstance(
        decide([window(20, unbounded="reserve", unbounded_nano=20)], 7, unbounded=True), Refused
    )
    assert decide([window(on_exceed=OnExceed.WARN)], 0, unpriced=True) == Admitted(0)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), max_size=4),
    st.integers(0, 60),
)
def test_an_admitted_hold_never_breaks_a_limit(
    windows: list[tuple[int, int, int]], amount: int
) -> None:
    """Admitted means it fits every window; refused means it does not fit at least one."""
    states = [window(limit, spent, held) for limit, spent, held in windows]
    fits = all(s + h + amount <= limit for limit, s, h in windows)
    assert isinstance(decide(states, amount), Admitted) == fits


# What does not fit


@pytest.mark.parametrize(
    ("spent", "held", "cost", "set_aside", "overdraft"),
    [
        (60, 30, 10, 10, 0),
        (90, 0, 15, 10, 5),  # spent over the limit
        (120, 0, 15, 15, 15),
        (60, 30, 25, 10, 15),  # not spent over it, but others hold the room
        (60, 30, 25, 0, 15),
        (60, 10, 25, 10, 0),  # there was room
        (110, 30, 15, 10, 15),
    ],
)
def test_what_of_a_charge_does_not_fit_is_overdraft(
    spent: int, held: int, cost: int, set_aside: int, overdraft: int
) -> None:
    state = window(100, spent, held)

    charge(state, cost, set_aside)

    assert (state.spent_nano, state.overdraft_nano) == (spent + cost, overdraft)


def test_a_budget_that_only_warns_has_no_overdraft() -> None:
    state = window(100, 90, 30, on_exceed=OnExceed.WARN)

    charge(state, 50)

    assert (state.spent_nano, state.overdraft_nano) == (140, 0)


def test_what_others_held_is_not_counted_twice_when_they_spend_it() -> None:
    """15 did not fit beside the 40 that others hold; then those are spent, to the last."""
    state = window(100, 50, 40)
    charge(state, 25)
    assert state.overdraft_nano == 15

    state.held_nano = 0
    charge(state, 40, 40)

    assert (state.spent_nano, state.overdraft_nano) == (115, 15)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=20),
)
def test_all_that_is_over_the_limit_is_overdraft(calls: list[tuple[int, int, bool]]) -> None:
    """Whatever calls cost beside what was set aside for them, and in whichever order they end."""
    state = window(100)
    held = []
    for amount, cost, at_once in calls:
        before = state.spent_nano + state.held_nano
        if before + amount > 100:
            continue
        state.held_nano += amount
        held.append((amount, cost))
        if at_once:
            amount, cost = held.pop(0)  # noqa: PLW2901 - the oldest ends
            total, recorded = state.spent_nano + state.held_nano, state.overdraft_nano
            state.held_nano -= amount
            charge(state, cost, amount)
            further = state.spent_nano + state.held_nano - max(100, total)
            assert state.overdraft_nano - recorded >= max(further, 0)

    assert state.overdraft_nano >= max(state.spent_nano - 100, 0)
