"""One prune from its plan to its end, step by step, beside servers at work."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from proxy.ledger.base import now_us
from proxy.ledger.budget_rows import load_covers
from proxy.ledger.history import patiently
from proxy.ledger.prune import (
    BATCH,
    Cut,
    Pruned,
    cut,
    mark,
    old,
    prune_batch,
    prune_windows,
)
from proxy.ledger.prune_months import drop_month, month_size, old_months
from proxy.ledger.prune_space import row_bytes, share_of_file
from proxy.store.engine import Database

T = TypeVar("T")


class Pruning:
    """Deletes what is older than a span. ``plan`` first, then ``run`` with what it says."""

    def __init__(
        self,
        database: Database,
        older_than_s: float,
        *,
        batch: int = BATCH,
        clock_us: Callable[[], int] = now_us,
    ) -> None:
        self._database = database
        self._older_than_us = int(older_than_s * 1_000_000)
        self._batch = batch
        self._clock_us = clock_us

    async def plan(self) -> tuple[Cut, Pruned]:
        """Where history is to be cut, and what would be deleted; its bytes are about right."""
        return await self._database.run(self._plan, writes=False)

    def _plan(self, connection: Connection) -> tuple[Cut, Pruned]:
        budgets = load_covers(connection).budgets.values()
        found = cut(budgets, self._older_than_us, self._clock_us())
        months = old_months(connection, found.before_us)
        freed = sum(month_size(connection, month) for month in months)
        if connection.dialect.name == "postgresql":
            # What a month frees is known; of the others the rows are, not their indexes.
            since = months[-1].until_us if months else 0
            freed += row_bytes(connection, since, found.before_us)
        else:
            freed += share_of_file(connection, found.before_us)
        names = tuple(month.calls for month in months)
        return found, old(connection, found.before_us) + Pruned(months=names, bytes=freed)

    async def run(self, where: Cut) -> AsyncIterator[Pruned]:
        """Delete, and say after each step what it was. Raises LedgerError; what was deleted stays so."""
        before_us = where.before_us
        await self._do(lambda connection: mark(connection, before_us))
        months = await self._database.run(
            lambda connection: old_months(connection, before_us), writes=False
        )
        for month in months:
            dropped = await self._do(partial(drop_month, month=month))
            if dropped is not None:
                yield dropped
            else:
                async for step in self._batches(month.until_us):
                    yield step
        async for step in self._batches(before_us):
            yield step
        while ended := await self._do(lambda connection: prune_windows(connection, before_us)):
            yield Pruned(windows=ended)

    async def _batches(self, before_us: int) -> AsyncIterator[Pruned]:
        size = self._batch
        while True:
            step = await self._do(lambda c: prune_batch(c, before_us, size))
            if not step.calls:
                return
            yield step

    async def _do(self, work: Callable[[Connection], T]) -> T:
        return await patiently(self._database, work)
