"""Steps that the ledger's contract tests share."""

from typing import Any

from proxy.core.reservation import Hold, HoldRequest
from tests.ledger.samples import request, settlement


async def totals(ledger: Any, budget_id: str = "team:search:month") -> tuple[int, int, int]:
    """Spent, held and overdraft of a budget's first window of now."""
    found = {view.budget.id: view for view in await ledger.budgets()}
    (window, *_) = found[budget_id].windows
    return window.spent_nano, window.held_nano, window.overdraft_nano


async def spend(ledger: Any, amount: int, cost: int, **values: Any) -> HoldRequest:
    """One call, from hold to settlement."""
    asked = request(amount, **values)
    hold = await ledger.reserve(asked)
    assert isinstance(hold, Hold)
    await ledger.settle(settlement(asked, cost, hold))
    return asked
