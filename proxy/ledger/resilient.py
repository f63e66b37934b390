"""A ledger that keeps going while its database is away.

New calls: ``unavailable: reject`` refuses them at once; ``allow`` holds them in memory against the
windows as they were last known. Either is a decision of the configuration. What a call cost is never
refused: where the database does not take it, it waits in the spool, and is replayed in order as soon
as the database answers. Replaying is idempotent by call id, so that no crash in between counts twice.

Where the spool is full as well (or its disk), nothing new is forwarded: a hold that can't be kept
refuses its call. Calls under way are answered all the same. Their settlements are tried again until
one of the two takes them; they are never more than the calls that were under way.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from proxy.core.budgets import Budget, Refused
from proxy.core.call import CallRecord
from proxy.core.errors import ConfigurationError, LedgerError
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.base import (
    BudgetView,
    Operation,
    Release,
    Reserve,
    Settle,
    SqlLedger,
    Stats,
    Unwritable,
)
from proxy.ledger.gathering import Busy
from proxy.ledger.outage import Outage
from proxy.ledger.replaying import Replaying
from proxy.ledger.spool import SpoolError
from proxy.ledger.spooled import hold_entry, note_entry, settle_entry
from proxy.ledger.spooler import Spooler

ALLOW = "allow"
SPOOL_LIMIT_BYTES = 512 * 1024 * 1024
_BACK_OFF_S = (
    0.05,
    2.0,
)  # first and longest pause between two questions to a database that is away

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
        self._replaying = Replaying(inner, self._spooler)
        # Until it is started: it knows no budget and no total, and refuses whatever the policy says.
        self._outage: Outage | None = Outage(inner, "it has not answered yet")
        self._started = False
        self._recovery: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._unwritten: set[asyncio.Task[None]] = set()  # settlements that nobody takes
        self._counts = inner.stats

    @property
    def allows_outages(self) -> bool:
        """Whether calls go on while the database is away."""
        return self._allow

    @property
    def stats(self) -> Stats:
        """What it has done."""
        stats = self._counts
        stats.available = self._outage is None
        stats.unwritten = len(self._unwritten)
        stats.spool_rows = self._spooler.rows
        return stats

    # Its life

    async def start(self) -> None:
        """Open it, with what earlier processes left behind in their spools.

        Raises LedgerError, and may be started again then; ConfigurationError for a spool that can't be read.
        """
        try:
            await self._inner.start()
            await self._take_over()
        except SpoolError as error:
            await self._inner.stop()
            raise ConfigurationError(f"ledger.spool_dir: {error}") from error
        except BaseException:  # cancelled, too: what is half open is closed
            await self._inner.stop()
            raise
        self._started = True
        self._outage = None
        if self._spooler.rows:  # calls that were refused meanwhile
            self._recover()

    async def _take_over(self) -> None:
        spools = await self._spooler.left_behind()
        try:
            for spool in spools:
                _log.warning("spool_left_behind", file=str(spool.path), bytes=spool.size)
                await self._spooler.replay_all(spool, self._replaying.replay)
        finally:
            for spool in spools:
                spool.close()  # for the next try
        with contextlib.suppress(LedgerError):  # the next sweep is due in a moment
            await self._inner.sweep()

    async def stop(self) -> None:
        """Write what waits, and close it. What the database does not take stays in the spool."""
        self._stopping.set()
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait((self._recovery,))
            self._recovery = None
        if self._unwritten:
            await asyncio.wait(self._unwritten)  # they try once more
        try:
            if self._outage is None:
                await self._spooler.replay(self._replaying.replay)
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
            answer: Hold | Refused = await self._ask(operation)
        except (Busy, Unwritable):
            raise
        except LedgerError as error:
            outage = self._went_away(error)
            if not self._allow:
                raise
            return await self._reserve_after_all(operation, outage)
        return answer

    async def _ask(self, operation: Operation) -> Any:
        """Have an operation done: at once, and once more, washed, where that is what it takes."""
        try:
            return await self._inner.post(operation)
        except asyncio.CancelledError:
            self._inner.forsake(operation)
            raise
        except Unwritable:
            return await self._inner.ask(operation)

    async def _reserve_after_all(self, operation: Reserve, outage: Outage) -> Hold | Refused:
        """In memory, what the database was asked for: it may have it already, or take it yet."""
        self._inner.keep(operation)
        answer: Hold | Refused | None = None
        try:
            answer = await self._reserve_without(operation.request, outage)
        finally:
            if not isinstance(answer, Hold):
                self._inner.let_go(operation)
        return answer

    def settle_soon(self, settlement: Settlement) -> "asyncio.Future[None] | None":
        """Begin to end the call; None where the database is away. Where it fails, ``settle`` it."""
        if self._outage is not None:
            return None
        try:
            return self._inner.post(Settle(settlement))
        except LedgerError:
            return None

    async def settle(self, settlement: Settlement, failed: Exception | None = None) -> None:
        """End the call, exactly once: durable when this returns, in the database or in the spool.

        Only the row of a call that was refused is not worth waiting for: it costs nothing.
        """
        forwarded = settlement.hold is not None or bool(settlement.record.attempts)
        if isinstance(failed, LedgerError) and not isinstance(failed, Unwritable | Busy):
            self._went_away(failed)
        if await self._settled(settlement, optional=not forwarded):
            return
        if not forwarded:
            self._drop(settlement)
            return
        task = asyncio.ensure_future(self._settle_patiently(settlement))
        self._unwritten.add(task)
        task.add_done_callback(self._unwritten.discard)
        await asyncio.shield(task)

    async def attempt(self, hold: Hold, record: CallRecord) -> None:
        """Note a further attempt before it is sent.

        Open where neither database nor spool takes the note: the call holds its money, its client
        waits, and its settlement will name every attempt. Only a crash before that would lose this one.
        """
        try:
            await self._noted(hold, record)
        except LedgerError as error:
            self._counts.attempts_unnoted += 1
            _log.error("attempt_not_noted", call=record.id, reason=str(error))

    async def _noted(self, hold: Hold, record: CallRecord) -> None:
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

    async def outlive(self, call_id: str, until_us: int) -> None:
        """Let a call's hold end with no process, but at a time of its own."""
        await self._inner.outlive(call_id, until_us)

    async def give_back(self, call_id: str) -> None:
        """End a kept hold: what it was for is over, and metered."""
        await self._inner.give_back(call_id)

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
        if not (self._allow and self._started):
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

    async def _spool(self, entry: bytes, *, optional: bool = False) -> None:
        try:
            await self._spooler.append(entry, optional=optional)
        except SpoolError as error:
            raise LedgerError(f"the database is away, and so is the spool: {error}") from error
        self._recover()

    # Settlements

    async def _settled(
        self, settlement: Settlement, *, optional: bool = False, again: bool = False
    ) -> bool:
        """Whether the database or the spool took it."""
        if self._outage is None:
            try:
                await self._inner.ask(Settle(settlement))
            except Unwritable as error:
                await self._replaying.give_up(settlement, error)
                return True
            except Busy:
                pass
            except LedgerError as error:
                self._went_away(error)
            else:
                return True
        if self._outage is not None and self._started and not again:
            self._outage.settle(settlement)
        try:
            await self._spool(settle_entry(settlement), optional=optional)
        except LedgerError as error:
            _log.error("settlement_waits", call=settlement.record.id, reason=str(error))
            return False
        return True

    async def _settle_patiently(self, settlement: Settlement) -> None:
        """Keep a settlement, whatever it takes: one that is dropped is money that nobody sees."""
        pause_s, longest_s = _BACK_OFF_S
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            if await self._settled(settlement, again=True):
                return
            pause_s = min(2 * pause_s, longest_s)
        # A sweep will settle its hold as lost. This is for whoever wants to know what it really cost.
        _log.error("settlement_lost", entry=settle_entry(settlement).decode())

    def _drop(self, settlement: Settlement) -> None:
        dropped = self._counts.refusals_dropped = self._counts.refusals_dropped + 1
        if dropped & (dropped - 1) == 0:  # the first, second, fourth, eighth …
            _log.error("refusals_not_recorded", last=settlement.record.id, total=dropped)

    # Going, and coming back

    def _went_away(self, error: LedgerError) -> Outage:
        if self._outage is None:
            _log.error("ledger_away", reason=str(error), allow=self._allow)
            self._counts.outages += 1
            self._outage = Outage(self._inner, str(error))
        self._recover()
        return self._outage

    def _recover(self) -> None:
        if self._stopping.is_set() or not self._started:
            return
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        """Ask for the database until it answers, and give it what has waited."""
        pause_s, longest_s = _BACK_OFF_S
        while True:
            try:
                # By the writer's own way: a file can be read while another program locks it, and a
                # server can answer while a connection to it does not.
                await self._inner.ask(Release(""))
                if not self._allow:
                    self._is_back()  # what waits was held before it went away: it is held still
                await self._spooler.replay(self._replaying.replay, then=self._is_back)
            except (LedgerError, SpoolError) as error:
                _log.info("ledger_still_away", reason=str(error), rows=self._spooler.rows)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, longest_s)
            else:
                return

    def _is_back(self) -> None:
        if self._outage is not None:
            _log.warning("ledger_back", rows=self._spooler.rows)
            self._outage = None
