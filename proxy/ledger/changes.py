"""What a change of budgets comes to: decided here, written by each ledger in one transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import orjson

from proxy.core.budgets import Budget
from proxy.core.errors import InvalidRequest
from proxy.ledger.cover import StoredBudget

CONFIGURATION = "configuration"
API = "api"


@dataclass(frozen=True, slots=True)
class Changes:
    """Budgets to write, those to remove, and those whose windows must be counted anew."""

    put: tuple[StoredBudget, ...] = ()
    removed: tuple[str, ...] = ()
    recount: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


def fingerprint(budget: Budget) -> str:
    """What the configuration says of a budget, to be compared with what it said before.

    Defaults are left out, so that a field that a later version adds makes no difference.
    """
    said = {f.name: v for f in fields(budget) if (v := getattr(budget, f.name)) != f.default}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def synchronise(stored: Mapping[str, StoredBudget], configured: Iterable[Budget]) -> Changes:
    """Make the configured budgets the ledger's.

    Where the configuration says what it said when it was last read, an edit through the API stays;
    where it says something else, it wins. Budgets that only the API knows are left alone.
    """
    wanted = {budget.id: budget for budget in configured}
    put = []
    recount = set()
    for budget in wanted.values():
        words = fingerprint(budget)
        old = stored.get(budget.id)
        if old is not None and old.configured == words:
            continue
        if old is None or not _covers_the_same(old.budget, budget):
            recount.add(budget.id)
        since = old.since if old is not None else 0
        put.append(StoredBudget(budget, since, CONFIGURATION, words))
    removed = tuple(
        id_ for id_, old in stored.items() if old.origin == CONFIGURATION and id_ not in wanted
    )
    return Changes(tuple(put), removed, frozenset(recount))


def edit(stored: Mapping[str, StoredBudget], budget: Budget) -> Changes:
    """Make or change one budget through the API."""
    old = stored.get(budget.id)
    if old is None:
        new = StoredBudget(budget, 0, API)
    elif old.budget == budget:
        return Changes()
    else:
        new = replace(old, budget=budget)
    same = old is not None and _covers_the_same(old.budget, budget)
    return Changes((new,), (), frozenset(() if same else (budget.id,)))


def remove(stored: Mapping[str, StoredBudget], budget_id: str) -> Changes:
    """Remove one budget through the API. Raises InvalidRequest for one of the configuration."""
    old = stored.get(budget_id)
    if old is None:
        return Changes()
    if old.origin == CONFIGURATION:
        raise InvalidRequest(
            f"Budget {budget_id!r} stands in the configuration and would come back: remove it "
            "there, or change its limit."
        )
    return Changes((), (budget_id,))


def _covers_the_same(one: Budget, other: Budget) -> bool:
    return (one.scope, one.subject, one.team, one.window, one.timezone) == (
        other.scope,
        other.subject,
        other.team,
        other.window,
        other.timezone,
    )
