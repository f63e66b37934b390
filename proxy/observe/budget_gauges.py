"""Budgets as gauges: what the ledger says of their windows at the moment of the scrape."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from proxy.core.budgets import EACH, Budget, Scope
from proxy.observe import catalogue
from proxy.observe.families import Labels, Snapshot
from proxy.observe.labels import OTHER


class Window(Protocol):
    """One window of a budget."""

    @property
    def subject(self) -> str:
        """Whose it is."""

    @property
    def starts_at(self) -> int:
        """When it began, in epoch seconds."""

    @property
    def resets_at(self) -> int | None:
        """When it ends; None: never."""

    @property
    def spent_nano(self) -> int:
        """The charges of its settled calls."""

    @property
    def held_nano(self) -> int:
        """The holds of its calls under way."""

    @property
    def overdraft_nano(self) -> int:
        """The part of what was spent that came in over the limit."""


class BudgetWindows(Protocol):
    """A budget with its windows of now."""

    @property
    def budget(self) -> Budget:
        """The budget."""

    @property
    def windows(self) -> Sequence[Window]:
        """One for a named subject, one for each that was used for "*"."""


_OPEN_SCOPES = (Scope.ORGANISATION, Scope.TEAM, Scope.MODEL)


def budget_values(
    views: Iterable[BudgetWindows], *, max_label_sets: int, on_full: Callable[[], None]
) -> Snapshot:
    """The current windows of all budgets as gauges.

    A key, a user, a run never becomes a label: budgets on those are shown one series for each kind
    of budget, namely the window that is nearest to its limit. So are, as "other", the windows for
    which there is no place: gauges don't add up, and the one that matters is the one that breaks first.
    """
    nearest: dict[Labels, tuple[Budget, Window]] = {}
    for labels, budget, window in _labelled(views):
        place = labels
        if labels not in nearest and len(nearest) >= max_label_sets - _PLACES_OF_THE_REST:
            on_full()
            place = (OTHER, OTHER, OTHER, OTHER, budget.window, budget.on_exceed)
        known = nearest.get(place)
        if known is None or _room(budget, window) < _room(*known):
            nearest[place] = budget, window
    shown = [(labels, budget, window) for labels, (budget, window) in nearest.items()]
    ending = [(k, w.starts_at, w.resets_at) for k, _, w in shown if w.resets_at is not None]
    return {
        catalogue.BUDGET_LIMIT.name: {k: budget.limit_nano for k, budget, _ in shown},
        catalogue.BUDGET_SPENT.name: {k: window.spent_nano for k, _, window in shown},
        catalogue.BUDGET_HELD.name: {k: window.held_nano for k, _, window in shown},
        catalogue.BUDGET_OVERDRAFT.name: {k: window.overdraft_nano for k, _, window in shown},
        catalogue.BUDGET_START.name: {k: start for k, start, _ in ending},
        catalogue.BUDGET_RESET.name: {k: end for k, _, end in ending},
    }


_PLACES_OF_THE_REST = 10  # five windows, two ways to exceed


def _labelled(views: Iterable[BudgetWindows]) -> Iterator[tuple[Labels, Budget, Window]]:
    for view in views:
        for window in view.windows:
            yield _budget_labels(view.budget, window.subject), view.budget, window


def _room(budget: Budget, window: Window) -> int:
    return budget.limit_nano - window.spent_nano - window.held_nano


def _budget_labels(budget: Budget, subject: str) -> Labels:
    if budget.scope not in _OPEN_SCOPES:
        name = f"{budget.scope}:{EACH}:{budget.window}"
        return (name, budget.scope, EACH, budget.team, budget.window, budget.on_exceed)
    team = subject if budget.scope is Scope.TEAM else budget.team
    return (budget.id, budget.scope, subject, team, budget.window, budget.on_exceed)
