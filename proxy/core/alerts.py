"""Alerts: which budgets have come so far that somebody should be told. Pure; time comes in.

An alert is made once for each threshold and window. Its id says for what, so that several processes
that see the same make the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy.core.budgets import Budget
from proxy.core.money import round_half_even, usd
from proxy.core.present import iso

# A forecast before that much of the window has passed rests on too little to wake anybody.
_LEAST_ELAPSED_PERCENT = 10
_LEAST_ELAPSED_S = 600
_FULL = 100


class AlertKind(StrEnum):
    """Why somebody is told."""

    THRESHOLD = "threshold"  # so much of the limit is spent
    FORECAST = "forecast"  # at the pace of this window, the limit will be reached before its end
    TEST = "test"


class Watched(NamedTuple):
    """One window of a budget, as it stands."""

    budget: Budget
    subject: str
    starts_at: int  # epoch seconds
    resets_at: int | None
    spent_nano: int
    held_nano: int


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell."""

    id: str
    kind: AlertKind
    percent: int  # the threshold; of a forecast, how much of the limit the window will come to
    budget_id: str
    scope: str
    subject: str
    team: str
    window: str
    starts_at: int  # epoch seconds
    resets_at: int | None
    limit_nano: int
    spent_nano: int
    held_nano: int
    forecast_nano: int | None
    blocks: bool
    at_us: int

    @property
    def title(self) -> str:
        """The alert in a sentence."""
        name = f"Budget {self.budget_id} ({self.scope} {self.subject}, {self.window})"
        if self.kind is AlertKind.TEST:
            return "This is a test of Farebox's alerts. Nothing is wrong."
        if self.kind is AlertKind.FORECAST and self.forecast_nano is not None:
            return (
                f"{name} will be exceeded at this pace: ${_cents(self.forecast_nano)} "
                f"of ${_cents(self.limit_nano)} by {self.resets}"
            )
        spent = f"${_cents(self.spent_nano)} of ${_cents(self.limit_nano)} spent"
        if self.percent >= _FULL:
            then = "calls are refused" if self.blocks else "calls go on"
            return f"{name} is used up: {spent}; {then}. It resets {self.resets}"
        return f"{name} is at {self.percent} %: {spent}. It resets {self.resets}"

    @property
    def resets(self) -> str:
        """When the window ends, as ISO 8601; "never" for a total."""
        return "never" if self.resets_at is None else iso(self.resets_at * 1_000_000)

    @property
    def severity(self) -> str:
        """Info | warning | critical: critical where calls are refused from now on."""
        if self.kind is AlertKind.TEST:
            return "info"
        full = self.kind is AlertKind.THRESHOLD and self.percent >= _FULL
        return "critical" if full and self.blocks else "warning"


class Due(NamedTuple):
    """What a look at the windows found."""

    alerts: tuple[Alert, ...]  # to be told
    # Lower thresholds of the same windows, which need no telling any more.
    passed: tuple[Alert, ...]


def due(
    windows: Sequence[Watched], thresholds: Sequence[int], *, forecast: bool, now_us: int
) -> Due:
    """The highest threshold that each window has reached, and a forecast where it breaks the limit.

    ``thresholds`` are percent of the limit.
    """
    alerts: list[Alert] = []
    passed: list[Alert] = []
    for window in windows:
        reached = sorted(p for p in thresholds if _reached(window, p))
        if reached:
            *lower, highest = reached
            alerts.append(_alert(window, AlertKind.THRESHOLD, highest, now_us))
            passed += (_alert(window, AlertKind.THRESHOLD, p, now_us) for p in lower)
        if forecast and window.spent_nano <= window.budget.limit_nano:
            expected = _forecast(window, now_us)
            if expected is not None and expected > window.budget.limit_nano:
                percent = expected * 100 // max(window.budget.limit_nano, 1)
                alerts.append(_alert(window, AlertKind.FORECAST, percent, now_us, expected))
    return Due(tuple(alerts), tuple(passed))


def trial_alert(now_us: int) -> Alert:
    """An alert that says that it is none, to try a channel with."""
    budget = "team:example:month"
    return Alert(
        id=f"test:{now_us}", kind=AlertKind.TEST, percent=80, budget_id=budget, scope="team",
        subject="example", team="example", window="month", starts_at=now_us // 1_000_000,
        resets_at=None, limit_nano=100 * 10**9, spent_nano=80 * 10**9, held_nano=0,
        forecast_nano=None, blocks=True, at_us=now_us,
    )  # fmt: skip


def _reached(window: Watched, percent: int) -> bool:
    limit = window.budget.limit_nano
    return window.spent_nano > 0 and window.spent_nano * 100 >= limit * percent


def _forecast(window: Watched, now_us: int) -> int | None:
    """What the window will come to at its pace so far; None while that can't be told."""
    if window.resets_at is None:
        return None
    length = window.resets_at - window.starts_at
    elapsed = now_us // 1_000_000 - window.starts_at
    least = max(length * _LEAST_ELAPSED_PERCENT // 100, _LEAST_ELAPSED_S)
    if not least <= elapsed <= length:
        return None
    return window.spent_nano * length // elapsed


def _alert(
    window: Watched, kind: AlertKind, percent: int, now_us: int, expected: int | None = None
) -> Alert:
    budget = window.budget
    which = kind if kind is AlertKind.FORECAST else f"{kind}:{percent}"
    return Alert(
        id=f"{budget.id}|{window.subject}|{window.starts_at}|{which}",
        kind=kind,
        percent=percent,
        budget_id=budget.id,
        scope=budget.scope,
        subject=window.subject,
        team=budget.team or (window.subject if budget.scope == "team" else ""),
        window=budget.window,
        starts_at=window.starts_at,
        resets_at=window.resets_at,
        limit_nano=budget.limit_nano,
        spent_nano=window.spent_nano,
        held_nano=window.held_nano,
        forecast_nano=expected,
        blocks=budget.blocks,
        at_us=now_us,
    )


def _cents(nano: int) -> str:
    """An amount for people: cents, and as many digits as it takes where it is less than one."""
    cent = 10**7
    return usd(nano if 0 < nano < cent else round_half_even(nano, cent) * cent)
