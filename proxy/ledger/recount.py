"""Window totals from the rows they are made of: for a budget that is new, and to check the others."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.core.budgets import Budget, WindowKey, window_bounds
from proxy.core.call import Principal
from proxy.ledger.batch import OpenHold
from proxy.ledger.codec import decode
from proxy.ledger.cover import Covers, StoredBudget


@dataclass(frozen=True, slots=True)
class Fact:
    """Money that counts on the windows of a call (or of many like it) that started then."""

    principal: Principal
    model: str
    at_us: int
    nano: int


@dataclass(frozen=True, slots=True)
class HeldFact:
    """The same for a hold, with the windows that it says it counts on."""

    call_id: str
    fact: Fact
    windows: tuple[WindowKey, ...]


def held_fact(call_id: str, hold: OpenHold) -> HeldFact:
    """What a hold counts for."""
    record = decode(hold.record)
    fact = Fact(record.principal, hold.model, record.started_at_us, hold.amount_nano)
    return HeldFact(call_id, fact, hold.windows)


def count(facts: Iterable[Fact], covers: Covers) -> dict[WindowKey, int]:
    """The sum of each window."""
    sums: dict[WindowKey, int] = {}
    for fact in facts:
        for key in covers.of(fact.principal, fact.model, fact.at_us).keys:
            sums[key] = sums.get(key, 0) + fact.nano
    return sums


def count_held(holds: Iterable[HeldFact]) -> dict[WindowKey, int]:
    """The sum of the holds on each window, as they say."""
    sums: dict[WindowKey, int] = {}
    for hold in holds:
        for key in hold.windows:
            sums[key] = sums.get(key, 0) + hold.fact.nano
    return sums


def first_window(budget: Budget, now_us: int, holds: Iterable[HeldFact]) -> int:
    """Where a new budget begins to count: its window of now, or that of the oldest call under way."""
    oldest = min((hold.fact.at_us for hold in holds), default=now_us)
    starts_at, _ = window_bounds(budget.window, budget.timezone, min(oldest, now_us))
    return starts_at


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The windows of new budgets, and the holds that now count on them too."""

    spent: dict[WindowKey, int]
    held: dict[WindowKey, int]
    hold_windows: dict[str, tuple[WindowKey, ...]]


def rebuild(
    budgets: Iterable[StoredBudget], facts: Iterable[Fact], holds: Iterable[HeldFact]
) -> Rebuilt:
    """Count budgets that have no windows yet. ``facts`` are the calls since the first one's ``since``."""
    new = {b.budget.id: b for b in budgets}
    covers = Covers(new.values())
    spent = {
        key: nano
        for key, nano in count(facts, covers).items()
        if nano and key.starts_at >= new[key.budget_id].since
    }
    held: dict[WindowKey, int] = {}
    hold_windows: dict[str, tuple[WindowKey, ...]] = {}
    for hold in holds:
        fact = hold.fact
        kept = tuple(key for key in hold.windows if key.budget_id not in new)
        added: tuple[WindowKey, ...] = ()
        if fact.nano:  # what holds nothing counts nowhere
            added = covers.of(fact.principal, fact.model, fact.at_us).keys
        for key in added:
            held[key] = held.get(key, 0) + fact.nano
        if kept + added != hold.windows:
            hold_windows[hold.call_id] = kept + added
    return Rebuilt(spent, held, hold_windows)
