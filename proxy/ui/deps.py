"""What the page needs of the rest of the house; ``app`` hands it in."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.core.budgets import Budget
from proxy.ledger.base import BudgetView
from proxy.settings import Settings
from proxy.store.audits import Audits
from proxy.store.clock import now_s
from proxy.store.keys import KeyStore
from proxy.store.latency import Latencies
from proxy.store.records import Records


class BudgetLedger(Protocol):
    """The budgets of the ledger. Every method raises LedgerError where the database does not answer."""

    async def budgets(self) -> Sequence[BudgetView]:
        """All budgets with their windows of now."""

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget; the next hold in any process goes by it."""


@dataclass(frozen=True, slots=True)
class UiDeps:
    """One object for all pages."""

    ledger: BudgetLedger
    keys: KeyStore
    records: Records
    latencies: Latencies
    audits: Audits
    settings: Callable[[], Settings]  # the configuration of the moment
    settled: Callable[[], Awaitable[None]]  # waits until answered calls are in the ledger
    clock_s: Callable[[], float] = now_s
