"""The page that Prometheus scrapes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from proxy.core.errors import LedgerError
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.exposition import END, exposition
from proxy.observe.families import Exemplars, Snapshot, latest, merged
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

    async def text(self, *, openmetrics: bool = False) -> bytes:
        """Everything in the classic text format of Prometheus, or in OpenMetrics with exemplars.

        Budgets are left out while the ledger does not answer: an old figure of money would be wrong,
        and the other metrics are wanted most just then.
        """
        others = await self._workers.others() if self._workers else []
        own = self._metrics.snapshot()
        values: list[Snapshot] = [own, *(other.values for other in others), self._about]
        with contextlib.suppress(LedgerError):  # as above: without budgets rather than not at all
            values.append(self._metrics.budgets(await self._budgets()))
        exemplars = None
        if openmetrics:
            exemplars = [self._metrics.exemplars(), *(other.exemplars for other in others)]
        return await asyncio.to_thread(_written, values, exemplars, self._process)


def _written(
    values: Sequence[Snapshot],
    exemplars: Sequence[Exemplars] | None,
    process: CollectorRegistry | None,
) -> bytes:
    if exemplars is None:
        page = exposition(catalogue.FAMILIES, merged(values))
        return page if process is None else page + generate_latest(process)
    page = exposition(catalogue.FAMILIES, merged(values), latest(exemplars))
    if process is None:
        return page + END
    return page + bytes(generate_openmetrics(process))  # type: ignore[no-untyped-call]
