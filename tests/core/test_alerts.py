"""When somebody is told about a budget."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.alerts import AlertKind, Watched, due, trial_alert
from proxy.core.budgets import Budget, OnExceed, Scope, Window

DAY_S = 86_400
START = 1_764_028_800
NOON_US = (START + DAY_S // 2) * 1_000_000


def watched(spent: int, limit: int = 1000, **changes: Any) -> Watched:
    """A day's budget of the team search."""
    budget = Budget("team:search:day", Scope.TEAM, "search", limit, Window.DAY)
    window = Watched(budget, "search", START, START + DAY_S, spent, 0)
    return window._replace(**changes)


def told(*windows: Watched, now_us: int = NOON_US, forecast: bool = False) -> list[str]:
    return [
        a.id.partition(f"{START}|")[2]
        for a in due(windows, [80, 100], forecast=forecast, now_us=now_us).alerts
    ]


def test_nobody_is_told_below_the_first_threshold() -> None:
    assert told(watched(799)) == []


def test_only_the_highest_threshold_is_told() -> None:
    """A window that jumps past several is one piece of news; the lower ones count as passed."""
    found = due([watched(1000)], [80, 100], forecast=False, now_us=NOON_US)

    assert [a.percent for a in found.alerts] == [100]
    assert [a.percent for a in found.passed] == [80]


def test_a_forecast_is_told_while_there_is_time() -> None:
    """Half a day spent 600 of 1,000: by midnight it will be 1,200."""
    (alert,) = due([watched(600)], [80, 100], forecast=True, now_us=NOON_US).alerts

    assert (alert.kind, alert.forecast_nano, alert.percent) == (AlertKind.FORECAST, 1200, 120)
    assert told(watched(500), forecast=True) == []
    assert told(watched(1001), forecast=True) == ["threshold:100"]  # it happened already


def test_no_forecast_from_the_first_minutes() -> None:
    early = (START + DAY_S // 20) * 1_000_000

    assert told(watched(600), now_us=early, forecast=True) == []


def test_a_total_has_no_forecast() -> None:
    assert told(watched(600, resets_at=None), forecast=True) == []


def test_a_budget_of_nothing_is_full_with_the_first_call() -> None:
    assert told(watched(0, limit=0)) == []
    assert told(watched(1, limit=0)) == ["threshold:100"]


@given(st.integers(0, 5000), st.integers(1, 1000), st.lists(st.integers(1, 300), max_size=5))
def test_each_threshold_is_told_or_passed_exactly_where_it_is_reached(
    spent: int, limit: int, thresholds: list[int]
) -> None:
    found = due([watched(spent, limit)], thresholds, forecast=False, now_us=NOON_US)

    reached = sorted(p for p in thresholds if spent > 0 and spent * 100 >= limit * p)
    assert sorted(a.percent for a in (*found.alerts, *found.passed)) == reached
    assert len(found.alerts) <= 1


def test_a_title_says_what_happened_and_what_follows() -> None:
    limit = 500 * 10**9
    (full,) = due([watched(limit, limit)], [100], forecast=False, now_us=NOON_US).alerts
    (near,) = due([watched(limit * 8 // 10, limit)], [80], forecast=False, now_us=NOON_US).alerts

    assert full.title == (
        "Budget team:search:day (team search, day) is used up: $500.00 of $500.00 spent; "
        "calls are refused. It resets 2025-11-26T00:00:00.000Z"
    )
    assert "is at 80 %: $400.00 of $500.00" in near.title
    assert (full.severity, near.severity) == ("critical", "warning")


def test_a_budget_that_only_warns_says_that_calls_go_on() -> None:
    window = watched(1000)
    lenient = Budget("b", Scope.TEAM, "search", 1000, Window.DAY, on_exceed=OnExceed.WARN)
    (alert,) = due([window._replace(budget=lenient)], [100], forecast=False, now_us=NOON_US).alerts

    assert "calls go on" in alert.title
    assert alert.severity == "warning"


def test_a_trial_says_that_it_is_none() -> None:
    assert "test" in trial_alert(NOON_US).title
    assert trial_alert(NOON_US).severity == "info"
