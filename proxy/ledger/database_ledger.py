"""What the ledgers on a database share: everything but the writing of a batch."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection

from proxy.core.budgets import Budget, WindowKey
from proxy.core.call import CallRecord, Principal
from proxy.core.errors import LedgerError
from proxy.ledger import budget_rows, changes, check_rows, leases, money_rows
from proxy.ledger.asking import Asking
from proxy.ledger.base import (
    BudgetView,
    DoubtfulError,
    LedgerOptions,
    Lose,
    Operation,
    Reserve,
    Stats,
    Unwritable,
    Written,
)
from proxy.ledger.cover import Cover
from proxy.ledger.gathering import BATCH_LIMIT, Gathering
from proxy.ledger.reading import budgets_now
from proxy.ledger.washing import wash
from proxy.store.engine import Database

_log = structlog.get_logger("farebox.ledger")
_SIGNS_A_LEASE = 3
_SWEEPS_A_LEASE = 2
_READS_WITHIN_S = 2.0  # a probe, a scrape and a client wait no longer


class DatabaseLedger(Asking):
    """A ledger whose operations are gathered into transactions, written by ``_dispatch``."""

    def __init__(self, database: Database, options: LedgerOptions | None = None) -> None:
        super().__init__()
        self.database = database
        self.options = options or LedgerOptions()
        self.stats = Stats()
        self._gathering: Gathering | None = None
        self._care: asyncio.Task[None] | None = None
        self._answers = True  # whether the database took the last batch

    # What a kind of database does in its own way

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError

    def _dispatch(self, batch: list[Operation]) -> None:
        """Have a batch written, and call ``_gathering.answer`` or ``fail`` with it, then ``_next``."""
        raise NotImplementedError

    def cover(self, principal: Principal, model: str, at_us: int) -> Cover:
        """The windows of a call, by the budgets as this process last saw them."""
        raise NotImplementedError

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when this process last saw it, in nano-dollars."""
        raise NotImplementedError

    def _batch_limit(self) -> int:
        """How many operations go into one transaction at most."""
        return BATCH_LIMIT

    async def _prepare(self) -> None:
        """What is to be made ahead, now and then."""

    # Its life

    async def start(self) -> None:
        """Open it, and settle the holds of the dead. Raises LedgerError."""
        await self._sign_in()  # before the first hold: a hold without an owner's row is swept
        await self._open()
        options = self.options
        self._gathering = Gathering(
            self._dispatch,
            limit=options.queue_limit,
            timeout_s=options.answer_timeout_s,
            patience_s=options.patience_s,
            batch_limit=self._batch_limit(),
            linger_s=options.linger_s,
            hurry=lambda: bool(self._releases),
        )
        try:
            await self.sweep()
        except LedgerError as error:  # a busy database is no reason not to serve: care sweeps again
            _log.warning("sweep_postponed", reason=str(error))
        self._care = asyncio.get_running_loop().create_task(self._take_care())

    async def stop(self) -> None:
        """Write what waits, and close it."""
        if self._care is not None:
            self._care.cancel()
            await asyncio.wait((self._care,))
            self._care = None
        if self._gathering is not None:
            self._gathering.closed = True
            await self._gathering.quiet()
            self._gathering.stop()
            self._gathering = None
            await self._close()
            owner = self.options.owner
            if self._answers:  # else the lease ends by itself
                with contextlib.suppress(LedgerError):
                    await self.database.run(lambda connection: leases.sign_out(connection, owner))

    async def ping(self) -> None:
        """Raises LedgerError where the database does not answer."""
        await self.database.run(
            lambda connection: connection.exec_driver_sql("SELECT 1"),
            writes=False,
            within_s=_READS_WITHIN_S,
        )

    # The data path

    async def ask(self, operation: Operation) -> Any:
        """Have one operation done, in the next batch. Raises LedgerError."""
        if self._gathering is None:
            raise LedgerError("the ledger is closed")
        try:
            return await self._gathering.ask(operation)
        except Unwritable:
            # A NUL in a name, a count of more than 64 bits: a database refuses what a client may send.
            if not wash(operation):
                raise
            return await self._gathering.ask(operation)

    def post(self, operation: Operation) -> asyncio.Future[Any]:
        """Begin one operation; what can't be written as it stands is not tried again. Raises LedgerError."""
        if self._gathering is None:
            raise LedgerError("the ledger is closed")
        return self._gathering.post(operation)

    def forsake(self, operation: Operation) -> None:
        """Who waited for it was cancelled: what it may have held just then is given back."""
        if self._gathering is not None:
            self._gathering.forsake(operation)

    def keep(self, operation: Reserve) -> None:
        """Do not give back what the operation may have held: its call goes on all the same."""
        if self._gathering is not None:
            self._gathering.keep(operation)

    def let_go(self, operation: Reserve) -> None:
        """Give it back after all: its call does not go on."""
        if self._gathering is not None:
            self._gathering.let_go(operation)

    async def outlive(self, call_id: str, until_us: int) -> None:
        """Let a call's hold end with no process, but at a time of its own."""
        await self.database.run(lambda connection: leases.outlive(connection, call_id, until_us))

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call."""
        return await self.database.run(
            lambda connection: money_rows.read_call(connection, call_id),
            writes=False,
            within_s=_READS_WITHIN_S,
        )

    # Budgets

    async def sync_budgets(self, budgets: Sequence[Budget]) -> None:
        """Make the configured budgets those of the ledger."""
        now_us = self.options.clock_us()

        def work(connection: Connection) -> None:
            budget_rows.lock_budgets(connection)
            stored = budget_rows.load_covers(connection).budgets
            if change := changes.synchronise(stored, budgets):
                budget_rows.apply_changes(connection, change, now_us)

        await self.database.run(work)

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget. Its windows stay, as long as it covers the same calls."""
        now_us = self.options.clock_us()

        def work(connection: Connection) -> None:
            budget_rows.lock_budgets(connection)
            stored = budget_rows.load_covers(connection).budgets
            if change := changes.edit(stored, budget):
                old = stored.get(budget.id)
                budget_rows.apply_changes(connection, change, now_us)
                before = old.budget if old else None
                budget_rows.write_audit(connection, actor, before, budget, now_us)

        await self.database.run(work)

    async def remove_budget(self, budget_id: str, actor: str) -> bool:
        """Remove a budget and its windows; False where there is none."""
        now_us = self.options.clock_us()

        def work(connection: Connection) -> bool:
            budget_rows.lock_budgets(connection)
            stored = budget_rows.load_covers(connection).budgets
            change = changes.remove(stored, budget_id)
            if not change:
                return False
            budget_rows.apply_changes(connection, change, now_us)
            old = stored[budget_id].budget
            budget_rows.write_audit(connection, actor, old, None, now_us)
            return True

        return await self.database.run(work)

    async def budgets(self) -> list[BudgetView]:
        """All budgets with their windows of now."""
        now_us = self.options.clock_us()
        return await self.database.run(
            lambda connection: budgets_now(connection, now_us),
            writes=False,
            within_s=_READS_WITHIN_S,
        )

    async def verify(self) -> list[str]:
        """Where the totals differ from the rows they are made of: empty where all is well."""
        return await self.database.run(check_rows.verify, writes=False)

    # Leases

    async def sweep(self, now_us: int | None = None) -> int:
        """Settle the holds of processes that died, and say how many."""
        swept = 0
        while True:
            dead = await self._find_dead(now_us)
            if not dead:
                break
            ends = await asyncio.gather(
                *(self.ask(Lose(call_id)) for call_id in dead), return_exceptions=True
            )
            done = ends.count(None)
            swept += done
            for call_id, end in zip(dead, ends, strict=True):
                if isinstance(end, Unwritable):
                    _log.error("hold_not_swept", call=call_id, reason=str(end))
                elif end is not None:
                    raise end
            if not done:
                break  # what is left is stuck, and was told
        self.stats.swept += swept
        return swept

    async def _find_dead(self, now_us: int | None) -> list[str]:
        owner, lease_us = self.options.owner, int(self.options.lease_s * 1_000_000)
        clock_us = self.options.clock_us()

        def work(connection: Connection) -> list[str]:
            now = leases.database_us(connection, clock_us) if now_us is None else now_us
            return leases.dead_holds(connection, owner, now, lease_us)

        return await self.database.run(work, writes=False)

    async def _sign_in(self) -> None:
        owner, clock_us = self.options.owner, self.options.clock_us()
        lease_us = int(self.options.lease_s * 1_000_000)

        def work(connection: Connection) -> None:
            now = leases.database_us(connection, clock_us)
            leases.sign_in(connection, owner, now)
            leases.forget_dead(connection, now, lease_us)

        await self.database.run(work)

    async def _take_care(self) -> None:
        """Sign in and sweep, as long as the ledger is open."""
        loop = asyncio.get_running_loop()
        sign_every_s = self.options.lease_s / _SIGNS_A_LEASE
        sweep_every_s = self.options.lease_s / _SWEEPS_A_LEASE
        next_sweep = loop.time() + sweep_every_s
        while True:
            await asyncio.sleep(sign_every_s)
            try:
                await self._sign_in()
                if loop.time() >= next_sweep:
                    await self._prepare()
                    await self.sweep()
                    next_sweep = loop.time() + sweep_every_s
            except LedgerError:
                # After an outage the others need time for their own signs: not to be swept as dead.
                next_sweep = loop.time() + sweep_every_s

    def _done(self, batch: list[Operation], written: Written | LedgerError) -> None:
        """On the event loop, after each batch."""
        if self._gathering is None:
            return
        stats = self.stats
        stats.waiting = len(self._gathering)
        self._answers = not isinstance(written, LedgerError)
        if isinstance(written, LedgerError):
            stats.failures += 1
            self._gathering.fail(batch, written, doubtful=isinstance(written, DoubtfulError))
            return
        stats.transactions += 1
        stats.operations += len(batch)
        self._gathering.answer(batch, written.answers)
        if written.gave_back:
            self._releases.wake()
        if self.options.on_commit is not None:
            self.options.on_commit(len(batch), written.seconds)
