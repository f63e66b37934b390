"""Which windows of which budgets a call falls under.

The only place that knows, so that a hold, its settlement, a sweep and a count from the rows can't
disagree.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.core.budgets import EACH, Budget, Scope, Window, WindowKey, window_bounds
from proxy.core.call import Principal
from proxy.ledger.codec import encode_windows

REMEMBERED = 20_000  # covers kept before they are all forgotten
SAME = 1_000  # principals kept, likewise: about as many as connections that call at once
_QUARTER_US = 900_000_000  # every window starts and ends at a quarter of an hour

# A budget for each value of a scope, asked for nothing but its subjects.
_ANY = {scope: Budget("", scope, EACH, 0, Window.TOTAL) for scope in Scope}


@dataclass(frozen=True, slots=True)
class StoredBudget:
    """A budget as the ledger keeps it."""

    budget: Budget
    since: int = 0  # epoch seconds: the first window whose calls are all counted
    origin: str = "configuration"  # configuration | api
    configured: str = ""  # what the configuration said when it was last read


@dataclass(frozen=True, slots=True)
class Place:
    """One window that a call falls in."""

    key: WindowKey
    budget: Budget
    resets_at: int | None
    counted: bool  # False: the window is older than the budget; its rows are to be counted first


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """All the windows that a call falls in. Calls alike share one."""

    places: tuple[Place, ...] = ()
    keys: tuple[WindowKey, ...] = field(init=False)
    text: str = field(init=False)  # the keys as JSON

    def __post_init__(self) -> None:
        keys = tuple(p.key for p in self.places)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "text", encode_windows(keys))


NOWHERE = Cover()


class Covers:
    """The budgets of one generation, indexed by what they cover."""

    def __init__(self, budgets: Iterable[StoredBudget] = (), generation: int = -1) -> None:
        self.generation = generation
        self.budgets = {b.budget.id: b for b in budgets}
        self._by_subject: dict[tuple[Scope, str], list[StoredBudget]] = {}
        for stored in self.budgets.values():
            place = (stored.budget.scope, stored.budget.subject)
            self._by_subject.setdefault(place, []).append(stored)
        used = {scope for scope, _ in self._by_subject}
        self._scopes = tuple(scope for scope in Scope if scope in used)
        self._remembered: dict[object, Cover] = {}
        # By the very object: a connection's calls share their principal, and it is not hashed again.
        self._same: dict[tuple[int, str, int], tuple[Principal, Cover]] = {}

    def of(self, principal: Principal, model: str, at_us: int) -> Cover:
        """The windows of a call that started then. The same call always falls under the same ones."""
        if not self._scopes:
            return NOWHERE
        quarter = at_us // _QUARTER_US
        same = self._same.get((id(principal), model, quarter))
        if same is not None and same[0] is principal:
            return same[1]
        cover = self._of(principal, model, at_us)
        if len(self._same) >= SAME:
            self._same.clear()
        self._same[id(principal), model, quarter] = principal, cover
        return cover

    def _of(self, principal: Principal, model: str, at_us: int) -> Cover:
        named = tuple([_ANY[scope].subjects(principal, model) for scope in self._scopes])
        what = (principal.key.team.name, named, at_us // _QUARTER_US)
        cover = self._remembered.get(what)
        if cover is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            cover = self._remembered[what] = self._find(principal, model, at_us, named)
        return cover

    def _find(
        self, principal: Principal, model: str, at_us: int, named: tuple[tuple[str, ...], ...]
    ) -> Cover:
        places = []
        for scope, values in zip(self._scopes, named, strict=True):
            candidates = [b for v in values for b in self._by_subject.get((scope, v), ())]
            if values:
                candidates += self._by_subject.get((scope, EACH), ())
            for stored in dict.fromkeys(candidates):
                places += _places(stored, principal, model, at_us)
        return Cover(tuple(sorted(places, key=_order)))


def _places(stored: StoredBudget, principal: Principal, model: str, at_us: int) -> list[Place]:
    budget = stored.budget
    starts_at, resets_at = window_bounds(budget.window, budget.timezone, at_us)
    return [
        Place(
            WindowKey(budget.id, subject, starts_at),
            budget,
            resets_at,
            counted=starts_at >= stored.since,
        )
        for subject in dict.fromkeys(budget.subjects(principal, model))
    ]


def _order(place: Place) -> tuple[str, str, int]:
    # The order in which every process locks the rows: two that lock in the same order can't deadlock.
    return (place.key.budget_id, place.key.subject, place.key.starts_at)
