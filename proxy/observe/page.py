"""The page that Prometheus scrapes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from proxy.core.errors import LedgerError
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.families import Snapshot, exposition, merged
from proxy.observe.metrics import Metrics
from proxy.observe.workers import Workers

Budgets = Callable[[], Awaitable[Sequence[BudgetWindows]]]


class MetricsPage:
    """One process's counts, the other workers', and the budgets as the ledger has them now."""

    def __init__(
        self,
        metrics: Metrics,
        budgets: Budgets,
        workers: Workers | None = None,
        *,
        version: str = "",
        database: str = "",
    ) -> None:
        self._metrics = metrics
        self._budgets = budgets
        self._workers = workers
        self._about: Snapshot = {catalogue.INFO.name: {(version, database): 1}}
        # Memory and processor time of the process that answers: of several workers, one is no figure.
        self._process = None if workers else CollectorRegistry()
        if self._process:
            ProcessCollector(registry=self._process)

    async def text(self) -> bytes:
        """Everything in the text format of Prometheus.

        Budgets are left out while the ledger does not answer: an old figure of money would be wrong,
        and the other metrics are wanted most just then.
        """
        others = await self._workers.others() if self._workers else []
        snapshots: list[Snapshot] = [self._metrics.snapshot(), *others, self._about]
        with contextlib.suppress(LedgerError):
            snapshots.append(self._metrics.budgets(await self._budgets()))
        return await asyncio.to_thread(_written, snapshots, self._process)


def _written(snapshots: Sequence[Snapshot], process: CollectorRegistry | None) -> bytes:
    page = exposition(catalogue.FAMILIES, merged(snapshots))
    return page if process is None else page + generate_latest(process)
