"""A ledger that keeps going while its database is away.

New calls: ``unavailable: reject`` refuses them at once; ``allow`` holds them in memory against the
windows as they were last known. Either is a decision of the configuration. What a call cost is never
refused: where the database does not take it, it waits in the spool, and is replayed in order as soon
as the database answers. Replaying is idempotent by call id, so that no crash in between counts twice.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from proxy.core.budgets import Budget, Refused
from proxy.core.call import CallRecord
from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.base import (
    BudgetView,
    Note,
    Operation,
    Reserve,
    Settle,
    SqlLedger,
    Stats,
    Unwritable,
)
from proxy.ledger.gathering import Busy
from proxy.ledger.outage import Outage
from proxy.ledger.spool import SpoolError
from proxy.ledger.spooled import hold_entry, note_entry, settle_entry
from proxy.ledger.spooler import Spooler

ALLOW = "allow"
SPOOL_LIMIT_BYTES = 512 * 1024 * 1024
_BACK_OFF_S = (
    0.05,
    2.0,
)  # first and longest pause between two questions to a database that is away
_PINGS_WITHIN_S = 2.0
_SETTLES_WITHIN_S = 60.0  # where neither the database nor the spool takes it
_REPLAYED_AT_ONCE = 256

_log = structlog.get_logger("farebox.ledger")


class ResilientLedger:
    """Wraps a ledger on a database. Everything it does not mention is the wrapped one's."""

    def __init__(
        self,
        inner: SqlLedger,
        folder: Path,
        *,
        unavailable: str = "reject",
        limit_bytes: int = SPOOL_LIMIT_BYTES,
    ) -> None:
        self._inner = inner
        self._allow = unavailable == ALLOW
        self._spooler = Spooler(folder, inner.options.owner, limit_bytes)
        self._outage: Outage | None = None
        self._recovery: asyncio.Task[None] | None = None

    @property
    def stats(self) -> Stats:
        """What it has done."""
        stats = self._inner.stats
        stats.available = self._outage is None
        stats.spool_rows, stats.spool_bytes = self._spooler.rows, self._spooler.size
        return stats

    # Its life

    async def start(self) -> None:
        """Open it, with what earlier processes left behind in their spools. Raises LedgerError."""
        await self._inner.start()
        for spool in await self._spooler.left_behind():
            _log.warning("spool_left_behind", file=str(spool.path), bytes=spool.size)
            await self._spooler.replay_all(spool, self._replay)
        await self._inner.sweep()

    async def stop(self) -> None:
        """Write what waits, and close it. What the database does not take stays in the spool."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait((self._recovery,))
            self._recovery = None
        try:
            if self._outage is None:
                await self._spooler.replay(self._replay)
        except LedgerError as error:
            _log.warning("spool_not_replayed", reason=str(error))
        if self._spooler.rows:
            _log.warning("spool_kept", rows=self._spooler.rows)
        await self._spooler.close()
        await self._inner.stop()

    async def ping(self) -> None:
        """Raises LedgerError where the database does not answer."""
        await self._inner.ping()

    # The data path

    async def reserve(self, request: HoldRequest) -> Hold | Refused:
        """Hold the amount, in the database or, where that is away and may be, in memory."""
        if self._outage is not None:
            return await self._reserve_without(request, self._outage)
        operation = Reserve(request)
        try:
            answer: Hold | Refused = await self._inner.ask(operation)
        except (Busy, Unwritable):
            raise
        except LedgerError as error:
            outage = self._went_away(error)
            if not self._allow:
                raise
            self._inner.keep(operation)
            return await self._reserve_without(request, outage)
        return answer

    async def settle(self, settlement: Settlement) -> None:
        """End the call, exactly once: durable when this returns, in the database or in the spool."""
        if self._outage is None:
            try:
                await self._inner.ask(Settle(settlement))
            except Unwritable:
                raise
            except Busy:
                pass
            except LedgerError as error:
                self._went_away(error)
            else:
                return
        if self._outage is not None:
            self._outage.settle(settlement)
        await self._spool_patiently(settle_entry(settlement))

    async def attempt(self, hold: Hold, record: CallRecord) -> None:
        """Note a further attempt before it is sent."""
        if self._outage is None:
            try:
                await self._inner.attempt(hold, record)
            except Unwritable:
                raise
            except LedgerError as error:
                if not isinstance(error, Busy):
                    self._went_away(error)
            else:
                return
        await self._spool(note_entry(record))

    async def released(self, timeout_s: float) -> None:
        """Wait until a hold may have been given back, or the time is up."""
        await self._inner.released(timeout_s)

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call."""
        return await self._inner.call(call_id)

    # The rest is the wrapped ledger's

    async def sync_budgets(self, budgets: Sequence[Budget]) -> None:
        """Make the configured budgets those of the ledger."""
        await self._inner.sync_budgets(budgets)

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget."""
        await self._inner.set_budget(budget, actor)

    async def remove_budget(self, budget_id: str, actor: str) -> bool:
        """Remove a budget and its windows; False where there is none."""
        return await self._inner.remove_budget(budget_id, actor)

    async def budgets(self) -> list[BudgetView]:
        """All budgets with their windows of now."""
        return await self._inner.budgets()

    async def sweep(self, now_us: int | None = None) -> int:
        """Settle the holds of processes that died, and say how many."""
        return await self._inner.sweep(now_us)

    async def verify(self) -> list[str]:
        """Where the totals differ from the rows they are made of."""
        return await self._inner.verify()

    # While the database is away

    async def _reserve_without(self, request: HoldRequest, outage: Outage) -> Hold | Refused:
        if not self._allow:
            raise LedgerError(f"the database is away: {outage.reason}")
        answer = outage.reserve(request)
        if isinstance(answer, Hold):
            # Before a byte goes upstream, so that a crash loses no call here either.
            owner = self._inner.options.owner
            try:
                await self._spool(hold_entry(request, answer.amount_nano, owner))
            except LedgerError:
                outage.forget(answer)
                raise
        return answer

    async def _spool(self, entry: bytes) -> None:
        try:
            await self._spooler.append(entry)
        except SpoolError as error:
            raise LedgerError(f"the database is away, and so is the spool: {error}") from error
        self._recover()

    async def _spool_patiently(self, entry: bytes) -> None:
        """Keep a settlement, whatever it takes: one that is dropped is money that nobody sees."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _SETTLES_WITHIN_S
        pause_s, longest_s = _BACK_OFF_S
        while True:
            try:
                await self._spool(entry)
            except LedgerError as error:
                if loop.time() > give_up:
                    raise
                _log.error("settlement_waits", reason=str(error))
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    def _went_away(self, error: LedgerError) -> Outage:
        if self._outage is None:
            _log.error("ledger_away", reason=str(error), allow=self._allow)
            self._outage = Outage(self._inner, str(error))
        self._recover()
        return self._outage

    def _recover(self) -> None:
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        """Ask for the database until it answers, and give it what has waited."""
        pause_s, longest_s = _BACK_OFF_S
        while True:
            try:
                async with asyncio.timeout(_PINGS_WITHIN_S):
                    await self._inner.ping()
                if not self._allow:
                    self._is_back()  # what waits was held before it went away: it is held still
                await self._spooler.replay(self._replay, then=self._is_back)
            except (LedgerError, TimeoutError, SpoolError) as error:
                _log.info("ledger_still_away", reason=str(error), rows=self._spooler.rows)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, longest_s)
            else:
                return

    def _is_back(self) -> None:
        if self._outage is not None:
            _log.warning("ledger_back", rows=self._spooler.rows)
            self._outage = None

    async def _replay(self, operations: Sequence[Operation]) -> None:
        """Have them done in their order. What alone can't be written is set aside, and told."""
        for start in range(0, len(operations), _REPLAYED_AT_ONCE):
            some = operations[start : start + _REPLAYED_AT_ONCE]
            ends: list[Any] = await asyncio.gather(
                *(self._inner.ask(operation) for operation in some), return_exceptions=True
            )
            for operation, end in zip(some, ends, strict=True):
                if isinstance(end, Unwritable):
                    await self._spooler.set_aside(_entry_of(operation))
                    _log.error("settlement_set_aside", reason=str(end))
                elif isinstance(end, BaseException):
                    raise end


def _entry_of(operation: Operation) -> bytes:
    if isinstance(operation, Settle):
        return settle_entry(operation.settlement)
    if isinstance(operation, Reserve):
        request = operation.request
        return hold_entry(request, request.amount_nano, operation.owner)
    assert isinstance(operation, Note)  # noqa: S101 - nothing else is spooled
    return note_entry(operation.record)
