"""Budgets as they are shown: with their windows of now, zeros where none was touched."""

from collections.abc import Iterable, Mapping

from proxy.core.budgets import EACH, WindowKey, window_bounds
from proxy.ledger.base import BudgetView, WindowView
from proxy.ledger.cover import StoredBudget

Totals = tuple[int, int, int]  # spent, held, overdraft


def current_starts(stored: Iterable[StoredBudget], now_us: int) -> dict[str, int]:
    """Each budget's window of now, by where it starts."""
    return {
        s.budget.id: window_bounds(s.budget.window, s.budget.timezone, now_us)[0] for s in stored
    }


def budget_views(
    stored: Iterable[StoredBudget], windows: Mapping[WindowKey, Totals], now_us: int
) -> list[BudgetView]:
    """The budgets in the order of their ids; ``windows`` may hold more than is shown."""
    by_budget: dict[tuple[str, int], list[tuple[str, Totals]]] = {}
    for key, totals in windows.items():
        by_budget.setdefault((key.budget_id, key.starts_at), []).append((key.subject, totals))
    views = []
    for each in sorted(stored, key=lambda s: s.budget.id):
        budget = each.budget
        starts_at, resets_at = window_bounds(budget.window, budget.timezone, now_us)
        found = dict(by_budget.get((budget.id, starts_at), ()))
        if budget.subject != EACH:
            found = {budget.subject: found.get(budget.subject, (0, 0, 0))}
        shown = tuple(
            WindowView(subject, starts_at, resets_at, *totals)
            for subject, totals in sorted(found.items())
        )
        views.append(BudgetView(budget, each.origin, shown))
    return views
