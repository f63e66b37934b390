"""Budgets as the database has them, for those who only read: no ledger has to be opened for that."""

from sqlalchemy import Connection

from proxy.ledger import budget_rows, money_rows
from proxy.ledger.base import BudgetView
from proxy.ledger.views import budget_views, current_starts


def budgets_now(connection: Connection, now_us: int) -> list[BudgetView]:
    """All budgets with their windows of now."""
    stored = budget_rows.load_covers(connection).budgets.values()
    totals = money_rows.window_totals(connection, current_starts(stored, now_us))
    return budget_views(stored, totals, now_us)
