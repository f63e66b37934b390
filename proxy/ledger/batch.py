"""What one transaction writes: decided here, without I/O, in the order in which the calls came.

A ledger loads what the operations touch into a ``Ground``, has a ``Batch`` decide, and writes what
it says. Memory, SQLite and PostgreSQL differ only in the loading and the writing.
"""

from collections.abc import Iterable

from msgspec import Struct

from proxy.core.budgets import Refused, WindowKey, WindowState, charge, decide, window_bounds
from proxy.core.call import CallRecord, Totals, totals
from proxy.core.reservation import Hold, Kept, Settlement
from proxy.ledger import rows
from proxy.ledger.base import Answer, LedgerOptions, Lose, Note, Operation, Reserve, Settle
from proxy.ledger.codec import decode, encode, encode_windows
from proxy.ledger.cover import NOWHERE, Cover, Covers, Place
from proxy.ledger.lost import charge_of, lost
from proxy.ledger.rows import Row

NO_OWNER = ""  # of a hold that does not end with a process


class OpenHold(Struct):
    """A hold that is not settled. What only the loss of its call needs may be left empty."""

    amount_nano: int
    windows: tuple[WindowKey, ...]
    estimate_nano: int = 0
    model: str = ""
    record: str = ""


class Settled(Struct):
    """A call that has its row. One marked lost is provisional: it comes with what it was written from."""

    record: CallRecord | None = None
    model: str = ""


class Ground(Struct):
    """What the transaction found, locked until its end."""

    windows: dict[WindowKey, WindowState] = {}
    holds: dict[str, OpenHold] = {}
    settled: dict[str, Settled] = {}


class Writes(Struct):
    """What the transaction is to write. ``answers`` are one an operation, in their order."""

    answers: list[Answer] = []
    holds_made: dict[str, Row] = {}  # in the order of the columns
    holds_noted: dict[str, str] = {}  # call id → record
    holds_drawn: dict[str, int] = {}  # call id → what is left
    holds_ended: list[str] = []
    lost: list[str] = []  # of those, the ones that nobody settled
    windows: dict[WindowKey, WindowState] = {}
    calls_undone: list[str] = []  # provisional rows, deleted before the inserts
    calls: dict[str, Row] = {}
    attempts: dict[str, list[Row]] = {}
    rollups: dict[Row, list[Row]] = {}  # what is to be added up
    by_principal: dict[Row, list[Row]] = {}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.holds_made or self.holds_noted or self.holds_ended or self.calls)


def touched(
    operations: Iterable[Operation], covers: Covers, ground: Ground
) -> dict[WindowKey, Place]:
    """Every window that the operations may change; ``ground`` has the holds and the settled calls.

    Finds the cover of each operation, for the batch.
    """
    found: dict[Cover, None] = {}
    for operation in operations:
        found[_cover(operation, covers, ground)] = None
        if isinstance(operation, Settle):
            for drawn in operation.settlement.draws_on:
                found[_cover_of_lost(drawn, covers, ground)] = None
    places = {place.key: place for cover in found for place in cover.places}
    for windows in {hold.windows for hold in ground.holds.values()}:
        for key in windows:
            if key not in places and (stored := covers.budgets.get(key.budget_id)) is not None:
                budget = stored.budget
                at_us = key.starts_at * 1_000_000
                _, resets_at = window_bounds(budget.window, budget.timezone, at_us)
                places[key] = Place(key, budget, resets_at, counted=True)
    return places


def _cover(operation: Operation, covers: Covers, ground: Ground) -> Cover:
    cover = NOWHERE
    if isinstance(operation, Settle):
        end = operation.settlement
        cover = covers.of(end.principal, end.model, end.record.started_at_us)
        operation.cover = cover
    elif isinstance(operation, Reserve):
        request = operation.request
        if not request.exempt:
            cover = covers.of(request.principal, request.model, request.record.started_at_us)
        operation.cover = cover
    elif isinstance(operation, Note):
        earlier = ground.settled.get(operation.record.id)
        if earlier is not None:
            cover = _cover_of(operation.record, earlier.model, covers)
    elif isinstance(operation, Lose):
        hold = ground.holds.get(operation.call_id)
        if hold is not None:
            cover = _cover_of(decode(hold.record), hold.model, covers)
    return cover


def _cover_of_lost(call_id: str, covers: Covers, ground: Ground) -> Cover:
    """Of a hold that may have been thought lost, and would be found again."""
    lost_one = ground.settled.get(call_id)
    if lost_one is None or lost_one.record is None:
        return NOWHERE
    return _cover_of(lost_one.record, lost_one.model, covers)


def _cover_of(record: CallRecord, model: str, covers: Covers) -> Cover:
    return covers.of(record.principal, model, record.started_at_us)


class _Group(Struct):
    windows: list[WindowState]
    changed: bool = False


class Batch:
    """Decides the operations of one transaction."""

    def __init__(self, ground: Ground, covers: Covers, options: LedgerOptions) -> None:
        self._ground = ground
        self._covers = covers
        self._owner = options.owner
        self._now_us = options.clock_us()
        self._policy = options.lost
        self._groups: dict[tuple[WindowKey, ...], _Group] = {}
        self.writes = Writes()

    def decide(self, operations: Iterable[Operation]) -> Writes:
        """What is to be written, and answered once it is."""
        answers = self.writes.answers
        for operation in operations:
            answer: Answer = None
            if isinstance(operation, Settle):
                self._settle(operation.settlement, operation.cover or NOWHERE)
            elif isinstance(operation, Reserve):
                answer = self._reserve(operation, operation.cover or NOWHERE)
            elif isinstance(operation, Note):
                self._note(operation.record)
            elif isinstance(operation, Lose):
                self._lose(operation.call_id)
            else:
                self._end_hold(operation.call_id)
            answers.append(answer)
        for group in self._groups.values():
            if group.changed:
                for window in group.windows:
                    self.writes.windows[window.key] = window
        return self.writes

    def _group(self, keys: tuple[WindowKey, ...]) -> "_Group":
        """The windows of many calls alike, looked up once. A removed budget's are left out."""
        group = self._groups.get(keys)
        if group is None:
            found = self._ground.windows
            group = self._groups[keys] = _Group([found[key] for key in keys if key in found])
        return group

    # The operations

    def _reserve(self, operation: Reserve, cover: Cover) -> Hold | Refused | None:
        request = operation.request
        record = request.record
        if operation.forced and self._is_known(record.id):
            return None
        group = self._group(cover.keys)
        amount = request.amount_nano
        warnings: tuple[str, ...] = ()
        if not operation.forced:
            verdict = decide(
                group.windows, amount, unpriced=request.unpriced, unbounded=request.unbounded
            )
            if isinstance(verdict, Refused):
                return verdict
            amount, warnings = verdict.amount_nano, verdict.warnings
        if amount:
            group.changed = True
            for window in group.windows:
                window.held_nano += amount
        self._ground.holds[record.id] = OpenHold(amount, cover.keys)
        self.writes.holds_made[record.id] = (
            record.id,
            operation.owner or self._owner,
            amount,
            request.estimate_nano,
            cover.text,
            self._now_us,
            request.model,
            0,
            encode(record),
        )
        hard = any(place.budget.blocks for place in cover.places)
        return Hold(record.id, amount, cover.keys, warnings, hard)

    def _settle(self, settlement: Settlement, cover: Cover) -> None:
        record = settlement.record
        hold = self._end_hold(record.id)
        set_aside = hold.amount_nano if hold is not None else 0
        if hold is None:
            earlier = self._ground.settled.get(record.id)
            if earlier is not None:
                if earlier.record is None:
                    return  # settled before
                set_aside = self._undo(earlier.record, earlier.model)
        if settlement.draws_on:
            set_aside += self._draw(settlement.draws_on, record.cost_nano)
        self._write(record, settlement.model, cover, set_aside, settlement.sums)
        if settlement.keeps is not None and hold is not None:
            self._keep(settlement.keeps, hold, settlement.model)

    def _keep(self, kept: Kept, hold: OpenHold, model: str) -> None:
        """Go on holding what the call held."""
        call_id = kept.record.id
        if self._is_known(call_id):
            return
        group = self._group(hold.windows)
        group.changed = True
        for window in group.windows:
            window.held_nano += hold.amount_nano
        self._ground.holds[call_id] = OpenHold(hold.amount_nano, hold.windows)
        self.writes.holds_made[call_id] = (
            call_id,
            NO_OWNER,
            hold.amount_nano,
            kept.estimate_nano,
            encode_windows(hold.windows),
            self._now_us,
            model,
            kept.until_us,
            encode(kept.record),
        )

    def _draw(self, names: tuple[str, ...], cost_nano: int) -> int:
        """Take a charge out of what is held for it; how much there was.

        Where that was thought lost meanwhile, this takes the place of what it was charged.
        """
        for call_id in names:
            if (hold := self._ground.holds.get(call_id)) is not None:
                return self._draw_from(call_id, hold, cost_nano)
            found = self._ground.settled.get(call_id)
            if found is not None and found.record is not None:
                del self._ground.settled[call_id]
                return self._undo(found.record, found.model)
        return 0

    def _draw_from(self, call_id: str, hold: OpenHold, cost_nano: int) -> int:
        drawn = min(cost_nano, hold.amount_nano)
        if not drawn:
            return 0
        hold.amount_nano -= drawn
        group = self._group(hold.windows)
        group.changed = True
        for window in group.windows:
            window.held_nano -= drawn
        if (row := self.writes.holds_made.get(call_id)) is not None:
            self.writes.holds_made[call_id] = (*row[:2], hold.amount_nano, *row[3:])
        else:
            self.writes.holds_drawn[call_id] = hold.amount_nano
        return drawn

    def _note(self, record: CallRecord) -> None:
        call_id = record.id
        if call_id in self.writes.holds_made:
            row = self.writes.holds_made[call_id]
            self.writes.holds_made[call_id] = (*row[:-1], encode(record))
        elif call_id in self._ground.holds:
            self.writes.holds_noted[call_id] = encode(record)
        elif (earlier := self._ground.settled.get(call_id)) and earlier.record is not None:
            # It was swept while its process could not be heard. It goes on, and so does its row.
            again = lost(record, earlier.record.cost_nano)
            charged = self._undo(earlier.record, earlier.model)
            cover = _cover_of(again, earlier.model, self._covers)
            self._write(again, earlier.model, cover, charged, provisional=True)

    def _lose(self, call_id: str) -> None:
        hold = self._end_hold(call_id)
        if hold is None:
            return  # another process was faster, or its own came back
        self.writes.lost.append(call_id)
        record = decode(hold.record)
        charge = charge_of(self._policy, hold.amount_nano, hold.estimate_nano, record)
        record = lost(record, charge)
        cover = _cover_of(record, hold.model, self._covers)
        self._write(record, hold.model, cover, hold.amount_nano, provisional=True)

    # What they are made of

    def _is_known(self, call_id: str) -> bool:
        return call_id in self._ground.holds or call_id in self._ground.settled

    def _end_hold(self, call_id: str) -> OpenHold | None:
        """Give back what the call holds."""
        hold = self._ground.holds.pop(call_id, None)
        if hold is None:
            return None
        if self.writes.holds_made.pop(call_id, None) is None:
            self.writes.holds_ended.append(call_id)
            self.writes.holds_noted.pop(call_id, None)
            self.writes.holds_drawn.pop(call_id, None)
        if hold.amount_nano:
            group = self._group(hold.windows)
            group.changed = True
            for window in group.windows:
                window.held_nano -= hold.amount_nano
        return hold

    def _write(
        self,
        record: CallRecord,
        model: str,
        cover: Cover,
        set_aside_nano: int,
        sums: Totals | None = None,
        *,
        provisional: bool = False,
    ) -> None:
        """The rows of a call, and its charge on every window it falls in.

        ``set_aside_nano`` is what the windows had for it until now: its hold, or what it was charged
        while it was thought lost.
        """
        sums = sums or totals(record)
        self.writes.calls[record.id] = rows.call_row(record, model, sums)
        self.writes.attempts[record.id] = [rows.attempt_row(record, a) for a in record.attempts]
        self._count(record, sums, 1)
        if sums.cost_nano:
            self._charge(cover, sums.cost_nano, set_aside_nano)
        self._ground.settled[record.id] = Settled(record if provisional else None, model)

    def _undo(self, record: CallRecord, model: str) -> int:
        """Take the provisional row of a lost call back, and say what it was charged."""
        self.writes.calls_undone.append(record.id)
        sums = totals(record)
        self._count(record, sums, -1)
        if sums.cost_nano:
            self._charge(_cover_of(record, model, self._covers), -sums.cost_nano)
        return sums.cost_nano

    def _charge(self, cover: Cover, cost_nano: int, set_aside_nano: int = 0) -> None:
        group = self._group(cover.keys)
        group.changed = True
        for window in group.windows:
            charge(window, cost_nano, set_aside_nano)

    def _count(self, record: CallRecord, sums: Totals, sign: int) -> None:
        _add(self.writes.rollups, rows.rollup_key(record), rows.rollup_counts(record, sums), sign)
        by_principal = rows.principal_key(record)
        _add(self.writes.by_principal, by_principal, rows.principal_counts(sums), sign)


def _add(into: dict[Row, list[Row]], key: Row, counts: Row, sign: int) -> None:
    if sign < 0:
        counts = tuple([-n for n in counts])
    found = into.get(key)
    if found is None:
        into[key] = [counts]
    else:
        found.append(counts)


def added_up(into: dict[Row, list[Row]]) -> list[Row]:
    """Rows of a rollup: each key with the sums of what was counted under it."""
    return [
        (*key, *counts[0]) if len(counts) == 1 else (*key, *map(sum, zip(*counts, strict=True)))
        for key, counts in into.items()
    ]
