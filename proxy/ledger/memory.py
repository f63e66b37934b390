"""The ledger without a database: for tests, and to say in little code what the others must do.

Several ledgers over the same ``MemoryTables`` are several processes on one database.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from proxy.core.budgets import Budget, WindowKey, WindowState
from proxy.core.call import CallRecord, totals
from proxy.core.errors import LedgerError
from proxy.ledger import changes, rows
from proxy.ledger.asking import Asking
from proxy.ledger.base import (
    BudgetView,
    LedgerOptions,
    Lose,
    Operation,
    Settle,
    Stats,
    call_id_of,
)
from proxy.ledger.batch import NO_OWNER, Batch, Ground, OpenHold, Settled, Writes, touched
from proxy.ledger.changes import Changes
from proxy.ledger.cover import Covers, StoredBudget
from proxy.ledger.recount import Fact, HeldFact, first_window, held_fact, rebuild
from proxy.ledger.rows import Row
from proxy.ledger.verify import Books, differences
from proxy.ledger.views import budget_views
from proxy.ledger.washing import wash

_ATTEMPTS = rows.CALL_COLUMNS.index("attempts")


@dataclass(slots=True)
class MemoryTables:
    """What a database would keep. Rows are those of ``store.schema``, by their keys."""

    covers: Covers = field(default_factory=lambda: Covers((), 0))
    windows: dict[WindowKey, tuple[int, int, int]] = field(default_factory=dict)
    holds: dict[str, OpenHold] = field(default_factory=dict)
    hold_owners: dict[str, str] = field(default_factory=dict)
    hold_ends: dict[str, int] = field(default_factory=dict)  # of those that outlive their process
    owners: dict[str, int] = field(default_factory=dict)
    calls: dict[str, Row] = field(default_factory=dict)
    attempts: dict[str, list[Row]] = field(default_factory=dict)
    rollups: dict[Row, list[int]] = field(default_factory=dict)
    by_principal: dict[Row, list[int]] = field(default_factory=dict)
    audit: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def record(self, call_id: str) -> CallRecord | None:
        """One settled call."""
        row = self.calls.get(call_id)
        if row is None:
            return None
        call = dict(zip(rows.CALL_COLUMNS, row, strict=True))
        tries = [dict(zip(rows.ATTEMPT_COLUMNS, t, strict=True)) for t in self.attempts[call_id]]
        return rows.record_from(call, tries)

    def model(self, call_id: str) -> str:
        """The public model name that it was called by."""
        model: str = self.calls[call_id][rows.CALL_COLUMNS.index("model")]
        return model

    def facts(self, since_us: int, until_us: int | None = None) -> Iterator[Fact]:
        """What the calls since then were charged."""
        for call_id in self.calls:
            record = self.record(call_id)
            if record is None or record.started_at_us < since_us:
                continue
            if until_us is None or record.started_at_us < until_us:
                at_us = record.started_at_us
                yield Fact(record.principal, self.model(call_id), at_us, record.cost_nano)

    def held(self) -> tuple[HeldFact, ...]:
        """The open holds."""
        return tuple(held_fact(call_id, hold) for call_id, hold in self.holds.items())


class MemoryLedger(Asking):
    """Answers at once: its transaction is that nothing else runs meanwhile."""

    def __init__(
        self, tables: MemoryTables | None = None, options: LedgerOptions | None = None
    ) -> None:
        super().__init__()
        self.tables = tables or MemoryTables()
        self.options = options or LedgerOptions()
        self.stats = Stats()
        self._open = False

    # Its life

    async def start(self) -> None:
        """Open it, and settle the holds of the dead."""
        self._open = True
        self.tables.owners[self.options.owner] = self.options.clock_us()
        await self.sweep()

    async def stop(self) -> None:
        """Close it."""
        self.tables.owners.pop(self.options.owner, None)
        self._open = False

    async def ping(self) -> None:
        """Raises LedgerError where it is not open."""
        if not self._open:
            raise LedgerError("the ledger is closed")

    # The data path

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call."""
        await self.ping()
        return self.tables.record(call_id)

    async def ask(self, operation: Operation) -> Any:
        """Have one operation done. Raises LedgerError."""
        await self.ping()
        try:
            writes = self._transact([operation])
        except ValueError as error:
            # The codec's word on half a surrogate pair: as on a database, it is mended.
            if not wash(operation):
                raise LedgerError(f"the ledger can't write this: {error}") from error
            writes = self._transact([operation])
        if writes.holds_ended:
            self._releases.wake()
        return writes.answers[0]

    async def outlive(self, call_id: str, until_us: int) -> None:
        """Let a call's hold end with no process, but at a time of its own."""
        await self.ping()
        if call_id in self.tables.holds:
            self.tables.hold_owners[call_id] = NO_OWNER
            self.tables.hold_ends[call_id] = until_us

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window, in nano-dollars."""
        spent, held, _ = self.tables.windows.get(key, (0, 0, 0))
        return spent, held

    # Budgets

    async def sync_budgets(self, budgets: Sequence[Budget]) -> None:
        """Make the configured budgets those of the ledger."""
        self._change(changes.synchronise(self.tables.covers.budgets, budgets))

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget."""
        old = self.tables.covers.budgets.get(budget.id)
        if change := changes.edit(self.tables.covers.budgets, budget):
            self._change(change)
            before = changes.fingerprint(old.budget) if old else ""
            self._audit(actor, "budget.set", budget.id, before, changes.fingerprint(budget))

    async def remove_budget(self, budget_id: str, actor: str) -> bool:
        """Remove a budget and its windows; False where there is none."""
        old = self.tables.covers.budgets.get(budget_id)
        self._change(changes.remove(self.tables.covers.budgets, budget_id))
        if old is not None:
            before = changes.fingerprint(old.budget)
            self._audit(actor, "budget.remove", budget_id, before, "")
        return old is not None

    async def budgets(self) -> list[BudgetView]:
        """All budgets with their windows of now."""
        stored = self.tables.covers.budgets.values()
        return budget_views(stored, self.tables.windows, self.options.clock_us())

    # Care

    async def sweep(self, now_us: int | None = None) -> int:
        """Settle the holds of processes that died, and say how many."""
        tables, options = self.tables, self.options
        now = options.clock_us() if now_us is None else now_us
        tables.owners[options.owner] = now
        alive_since = now - int(options.lease_s * 1_000_000)
        alive = {owner for owner, seen in tables.owners.items() if seen >= alive_since}
        dead = [
            call_id
            for call_id, owner in tables.hold_owners.items()
            if ((until := tables.hold_ends[call_id]) and until < now)
            or not (until or owner in alive)
        ]
        self._transact([Lose(call_id) for call_id in dead])
        self.stats.swept += len(dead)
        return len(dead)

    async def verify(self) -> list[str]:
        """Where the totals differ from the rows they are made of."""
        tables = self.tables
        hours: dict[Row, list[int]] = {}
        days: dict[Row, list[int]] = {}
        for call_id in tables.calls:
            record = tables.record(call_id)
            if record is not None:
                sums = totals(record)
                _add(hours, rows.rollup_key(record), rows.rollup_counts(record, sums))
                _add(days, rows.principal_key(record), rows.principal_counts(sums))
        books = Books(
            covers=tables.covers,
            windows={key: (spent, held) for key, (spent, held, _) in tables.windows.items()},
            charges=tables.facts(-(2**62)),
            holds=tables.held(),
            rollups={key: tuple(n) for key, n in tables.rollups.items()},
            rollups_due={key: tuple(n) for key, n in hours.items()},
            by_principal={key: tuple(n) for key, n in tables.by_principal.items()},
            by_principal_due={key: tuple(n) for key, n in days.items()},
            carried={},
            attempts={
                call_id: (row[_ATTEMPTS], len(tables.attempts[call_id]))
                for call_id, row in tables.calls.items()
                if row[_ATTEMPTS] != len(tables.attempts[call_id])
            },
        )
        return differences(books)

    # Transactions

    def _transact(self, operations: list[Operation]) -> Writes:
        ground = self._load(operations)
        places = touched(operations, self.tables.covers, ground)
        for place in places.values():
            if not place.counted:
                self._count_older(place.key)
        for key, place in places.items():
            known = self.tables.windows.get(key, (0, 0, 0))
            ground.windows[key] = WindowState(key, place.budget, place.resets_at, *known)
        writes = Batch(ground, self.tables.covers, self.options).decide(operations)
        self._apply(writes, ground)
        self.stats.transactions += 1
        self.stats.operations += len(operations)
        return writes

    def _load(self, operations: Iterable[Operation]) -> Ground:
        ground = Ground()
        for operation in operations:
            self._load_one(call_id_of(operation), ground)
            if isinstance(operation, Settle):
                for drawn in operation.settlement.draws_on:
                    self._load_one(drawn, ground)
        return ground

    def _load_one(self, call_id: str, ground: Ground) -> None:
        if (hold := self.tables.holds.get(call_id)) is not None:
            ground.holds[call_id] = replace(hold)
        elif call_id in self.tables.calls:
            record = self.tables.record(call_id)
            provisional = record is not None and record.outcome == "lost"
            ground.settled[call_id] = Settled(
                record if provisional else None, self.tables.model(call_id)
            )

    def _apply(self, writes: Writes, ground: Ground) -> None:
        tables = self.tables
        self._apply_holds(writes, ground)
        for call_id in writes.calls_undone:
            if call_id not in writes.calls:
                del tables.calls[call_id], tables.attempts[call_id]
        for key, state in writes.windows.items():
            tables.windows[key] = (state.spent_nano, state.held_nano, state.overdraft_nano)
        tables.calls.update(writes.calls)
        tables.attempts.update(writes.attempts)
        for rollup, counted in writes.rollups.items():
            for counts in counted:
                _add(tables.rollups, rollup, counts)
        for rollup, counted in writes.by_principal.items():
            for counts in counted:
                _add(tables.by_principal, rollup, counts)

    def _apply_holds(self, writes: Writes, ground: Ground) -> None:
        tables = self.tables
        for call_id, row in writes.holds_made.items():
            if call_id in tables.holds:
                raise LedgerError(f"call {call_id} has a hold already")
            amount, windows = ground.holds[call_id].amount_nano, ground.holds[call_id].windows
            tables.holds[call_id] = OpenHold(amount, windows, row[3], row[6], row[8])
            tables.hold_owners[call_id], tables.hold_ends[call_id] = row[1], row[7]
        for call_id, record in writes.holds_noted.items():
            tables.holds[call_id].record = record
        for call_id, left_nano in writes.holds_drawn.items():
            tables.holds[call_id].amount_nano = left_nano
        for call_id in writes.holds_ended:
            del tables.holds[call_id], tables.hold_owners[call_id], tables.hold_ends[call_id]

    # Changes of budgets

    def _change(self, change: Changes) -> None:
        tables = self.tables
        if not change:
            return
        holds = tables.held()
        stored = {k: v for k, v in tables.covers.budgets.items() if k not in change.removed}
        fresh = []
        for budget in change.put:
            if budget.budget.id in change.recount:
                since = first_window(budget.budget, self.options.clock_us(), holds)
                budget = StoredBudget(budget.budget, since, budget.origin, budget.configured)  # noqa: PLW2901
                fresh.append(budget)
            stored[budget.budget.id] = budget
        gone = {*change.removed, *change.recount}
        for key in [key for key in tables.windows if key.budget_id in gone]:
            del tables.windows[key]
        self._rebuild(fresh, holds)
        tables.covers = Covers(stored.values(), tables.covers.generation + 1)

    def _rebuild(self, fresh: list[StoredBudget], holds: tuple[HeldFact, ...]) -> None:
        if not fresh:
            return
        since_us = min(b.since for b in fresh) * 1_000_000
        built = rebuild(fresh, self.tables.facts(since_us), holds)
        for key in {*built.spent, *built.held}:
            self.tables.windows[key] = (built.spent.get(key, 0), built.held.get(key, 0), 0)
        for call_id, windows in built.hold_windows.items():
            self.tables.holds[call_id].windows = windows

    def _count_older(self, key: WindowKey) -> None:
        """Let a budget begin earlier: a call of a window before its first one is settled only now."""
        stored = dict(self.tables.covers.budgets)
        old = stored[key.budget_id]
        if key.starts_at >= old.since:
            return
        earlier = StoredBudget(old.budget, key.starts_at, old.origin, old.configured)
        facts = self.tables.facts(key.starts_at * 1_000_000, old.since * 1_000_000)
        for window, nano in rebuild([earlier], facts, ()).spent.items():
            self.tables.windows[window] = (nano, 0, 0)
        stored[key.budget_id] = earlier
        self.tables.covers = Covers(stored.values(), self.tables.covers.generation + 1)

    def _audit(self, actor: str, action: str, subject: str, before: str, after: str) -> None:
        self.tables.audit.append((actor, action, subject, before, after))


def _add(into: dict[Row, list[int]], key: Row, counts: Iterable[int]) -> None:
    found = into.setdefault(key, [])
    if not found:
        found.extend(counts)
    else:
        for i, n in enumerate(counts):
            found[i] += n
