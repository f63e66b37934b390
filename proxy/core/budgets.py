"""Budgets: which calls they cover, which window a moment falls in, and whether a hold fits.

``decide`` is the whole admission rule. It neither knows nor cares where the windows live.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from proxy.core.call import Principal


class Scope(StrEnum):
    """What a budget's money is set aside for."""

    ORGANISATION = "organisation"
    TEAM = "team"
    KEY = "key"
    USER = "user"
    WORKFLOW = "workflow"
    RUN = "run"
    MODEL = "model"
    TAG = "tag"


class Window(StrEnum):
    """How long a budget lasts before it starts anew; computed from the clock at read time."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"
    TOTAL = "total"


class OnExceed(StrEnum):
    """What happens to a call that does not fit."""

    BLOCK = "block"
    WARN = "warn"


EACH = "*"  # a subject of "*" gives every value its own window


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in money over a window for a scope.

    ``subject`` is the team's, key's, user's … name, ``k=v`` for a tag, or ``*``: one window for
    each value. ``team`` narrows any scope to one team's calls ("" is every team).
    """

    id: str
    scope: Scope
    subject: str
    limit_nano: int
    window: Window
    team: str = ""
    on_exceed: OnExceed = OnExceed.BLOCK
    timezone: str = "UTC"
    shrink: bool = False  # may the output cap be lowered to make a call fit?
    unpriced: str = "reject"  # reject | allow: calls that nothing gives a price for
    unbounded: str = "reject"  # reject | allow | reserve: calls whose cost their body can't bound
    unbounded_nano: int = 0  # with "reserve": what is held on top of what the body bounds

    @property
    def blocks(self) -> bool:
        """Whether a call that does not fit is refused."""
        return self.on_exceed is OnExceed.BLOCK

    def subjects(self, principal: Principal, model: str) -> tuple[str, ...]:
        """The subjects of this budget that the call falls under: empty where it is not covered."""
        if self.team and principal.key.team.name != self.team:
            return ()
        values = _values(self.scope, principal, model)
        if self.subject == EACH:
            return values
        return (self.subject,) if self.subject in values else ()


def _values(scope: Scope, principal: Principal, model: str) -> tuple[str, ...]:
    key = principal.key
    match scope:
        case Scope.TEAM:
            value = key.team.name
        case Scope.KEY:
            value = key.name
        case Scope.ORGANISATION:
            value = key.team.organisation
        case Scope.USER:
            value = principal.user
        case Scope.WORKFLOW:
            value = principal.workflow
        case Scope.RUN:
            value = principal.run
        case Scope.MODEL:
            value = model
        case Scope.TAG:
            return tuple(f"{k}={v}" for k, v in principal.tags)
    return (value,) if value else ()


# Windows


@lru_cache(maxsize=4096)
def _local_bounds(window: Window, timezone: str, hour_s: int) -> tuple[int, int]:
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(hour_s, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match window:
        case Window.DAY:
            start, end = midnight, midnight + timedelta(days=1)
        case Window.WEEK:
            start = midnight - timedelta(days=midnight.weekday())
            end = start + timedelta(days=7)
        case _:
            start = midnight.replace(day=1)
            end = (start + timedelta(days=32)).replace(day=1)
    return int(start.timestamp()), int(end.timestamp())


def window_bounds(window: Window, timezone: str, at_us: int) -> tuple[int, int | None]:
    """First second of the window that holds ``at_us`` and of the next one, in epoch seconds.

    ``total`` has no end. An hour is an hour of UTC; the other windows follow the calendar of the
    budget's time zone, so that a day of a clock change has 23 or 25 hours.
    """
    second = at_us // 1_000_000
    if window is Window.TOTAL:
        return 0, None
    if window is Window.HOUR:
        start = second - second % 3600
        return start, start + 3600
    # Time zones differ from UTC by multiples of a quarter of an hour, so that this is cacheable.
    return _local_bounds(window, timezone, second - second % 900)


# Admission


class WindowKey(NamedTuple):
    """Names one window of one budget: the primary key of its row."""

    budget_id: str
    subject: str
    starts_at: int  # epoch seconds


@dataclass(slots=True)
class WindowState:
    """One window's totals as the ledger knows them, in nano-dollars."""

    key: WindowKey
    budget: Budget
    resets_at: int | None
    spent_nano: int = 0
    held_nano: int = 0
    overdraft_nano: int = 0


class Admitted(Struct, frozen=True):
    """The hold fits. ``warnings`` are the ids of the warn budgets it puts over their limit."""

    amount_nano: int  # what is held: more than asked where an unbounded call's policy adds to it
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The hold does not fit ``budget``: the blocking window with the least left."""

    budget: Budget
    subject: str
    amount_nano: int
    spent_nano: int
    held_nano: int
    resets_at: int | None
    available_nano: int  # the largest hold that would fit every blocking window now; may be < 0
    waitable: bool  # only other calls' holds are in the way
    reason: str = "budget"  # budget | unpriced | unbounded: which of the budget's rules refuses

    @property
    def resets_at_iso(self) -> str:
        """When the window ends, as ISO 8601; "never" for a total."""
        if self.resets_at is None:
            return "never"
        return datetime.fromtimestamp(self.resets_at, UTC).isoformat().replace("+00:00", "Z")


def decide(
    windows: Sequence[WindowState],
    amount_nano: int,
    *,
    unpriced: bool = False,
    unbounded: bool = False,
) -> Admitted | Refused:
    """Whether a hold of ``amount_nano`` fits every blocking window: spent + held + amount ≤ limit.

    A call that is ``unpriced`` or ``unbounded`` first meets the policy of each blocking budget for
    such calls: refused, let through with its amount as it is, or with the policy's amount on top.
    """
    if not (unpriced or unbounded):
        for window in windows:
            room = window.budget.limit_nano - window.spent_nano - window.held_nano
            if amount_nano > room:
                break
        else:
            return Admitted(amount_nano)
    blocking = [w for w in windows if w.budget.blocks]
    for window in blocking:
        if unpriced and window.budget.unpriced == "reject":
            return _refused(window, blocking, amount_nano, "unpriced")
        if unbounded and window.budget.unbounded == "reject":
            return _refused(window, blocking, amount_nano, "unbounded")
    if unbounded:
        amount_nano += max((w.budget.unbounded_nano for w in blocking), default=0)
    tightest = min(blocking, key=_left, default=None)
    if tightest is not None and amount_nano > _left(tightest):
        return _refused(tightest, blocking, amount_nano, "budget")
    over = tuple(w.budget.id for w in windows if not w.budget.blocks and amount_nano > _left(w))
    return Admitted(amount_nano, over)


def charge(window: WindowState, cost_nano: int, set_aside_nano: int = 0) -> None:
    """Add what a call cost to a window. What of it does not fit a blocking one is its overdraft.

    That is what is spent over the limit; and what a call costs beyond the money that was set aside
    for it (its hold, or its charge while it was thought lost) where others hold the room. What they
    then spend over the limit is the second kind become the first, and not counted again.
    """
    spent, limit = window.spent_nano, window.budget.limit_nano
    window.spent_nano = spent + cost_nano
    if not window.budget.blocks:
        return
    overdraft = window.overdraft_nano
    before, after = max(spent - limit, 0), max(spent + cost_nano - limit, 0)
    if after < before:
        overdraft = max(overdraft + after - before, 0)
    elif after > before:
        overdraft = max(overdraft, min(overdraft + after - before, after))
    if cost_nano > set_aside_nano:
        taken = spent + window.held_nano
        unfit = taken + cost_nano - max(limit, taken + set_aside_nano)
        overdraft = max(overdraft, window.overdraft_nano + unfit)
    window.overdraft_nano = overdraft


def _left(window: WindowState) -> int:
    return window.budget.limit_nano - window.spent_nano - window.held_nano


def _refused(
    window: WindowState, blocking: Sequence[WindowState], amount_nano: int, reason: str
) -> Refused:
    room = min(w.budget.limit_nano - w.spent_nano for w in blocking)
    return Refused(
        budget=window.budget,
        subject=window.key.subject,
        amount_nano=amount_nano,
        spent_nano=window.spent_nano,
        held_nano=window.held_nano,
        resets_at=window.resets_at,
        available_nano=min(_left(w) for w in blocking),
        waitable=reason == "budget" and amount_nano <= room,
        reason=reason,
    )
