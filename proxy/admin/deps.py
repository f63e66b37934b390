"""What the admin API needs of the rest of the house; ``app`` hands it in."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.budgets import Budget
from proxy.ledger.base import BudgetView
from proxy.observe.page import MetricsPage
from proxy.settings import Settings
from proxy.store.keys import KeyStore
from proxy.store.records import Records


class BudgetLedger(Protocol):
    """The budgets of the ledger. Every method raises LedgerError where the database does not answer."""

    async def budgets(self) -> Sequence[BudgetView]:
        """All budgets with their windows of now."""

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget; the next hold in any process goes by it."""

    async def remove_budget(self, budget_id: str, actor: str) -> bool:
        """Remove a budget; False where there is none. Raises InvalidRequest for a configured one."""


@dataclass(frozen=True, slots=True)
class AdminDeps:
    """One object for all routes."""

    ledger: BudgetLedger
    keys: KeyStore
    records: Records
    metrics: MetricsPage
    settings: Callable[[], Settings]  # the configuration of the moment
    # Waits until the calls that were answered are in the ledger.
    settled: Callable[[], Awaitable[None]]
    ready: Callable[[], Awaitable[str]]  # why this process should get no calls; "" where it should
