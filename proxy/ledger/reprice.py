"""Rates history anew, by adjusting entries: the rows of calls and attempts stay as they are.

An entry, the windows that its call falls under, and the rollups change in one transaction, so that
every total stays the sum of its rows. What was adjusted before counts: a second run finds nothing.
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from sqlalchemy import Connection, Table, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from proxy.core.budgets import WindowKey, WindowState, charge
from proxy.core.call import Key, Principal, Team
from proxy.core.pricing import PriceBook
from proxy.ledger import rows
from proxy.ledger.base import now_us
from proxy.ledger.budget_rows import load_covers
from proxy.ledger.cover import Covers, Place
from proxy.ledger.history import lock_history, patiently
from proxy.ledger.rows import Row
from proxy.store.adjusted import REPRICE
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.reprice import Change, Page, Rater, ReadPlace, Tally, read_page, reprices
from proxy.store.schema import adjustments, budget_windows, calls, rollups, rollups_by_principal

PAGE = 1_000  # calls read, and at most adjusted, in one transaction
_HOUR_US = 3_600_000_000
_DAY_US = 86_400_000_000


class Repricing:
    """One run over history."""

    def __init__(
        self,
        database: Database,
        prices: PriceBook,
        providers: Mapping[str, str],
        *,
        dry_run: bool = False,
        page: int = PAGE,
    ) -> None:
        self._database = database
        self._rater = Rater(prices, providers)
        self._dry_run = dry_run
        self._page = page
        self.tally = Tally()

    async def run(self, wanted: CallFilter) -> AsyncIterator[int]:
        """Go through the calls, and say after each page how many it had. Raises LedgerError."""
        after: ReadPlace | None = None
        while True:
            page = await self._read(wanted, after)
            if page is None:
                return
            changes = self._changes(page)
            if changes and not self._dry_run:
                changes = await patiently(self._database, _Adjusting(changes))
            for change in changes:
                self.tally.change(change)
            after = page.end
            yield len(page.calls)

    async def _read(self, wanted: CallFilter, after: ReadPlace | None) -> Page | None:
        return await self._database.run(
            lambda connection: read_page(connection, wanted, after, self._page), writes=False
        )

    def _changes(self, page: Page) -> list[Change]:
        found = []
        for call in page.calls:
            self.tally.see(call)
            change = self._rater.change(call, page, self.tally)
            if change is not None:
                found.append(change)
        return found


class _Adjusting:
    """One transaction. What somebody else has adjusted or pruned since it was read is left out."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def __call__(self, connection: Connection) -> list[Change]:
        """Write the entries and the sums; says for which calls."""
        lock_history(connection)
        changes = _still_due(connection, self._changes)
        if changes:
            # The rows that servers want last, so that they wait the least; in the servers' order.
            connection.execute(insert(adjustments), list(_entries(changes, now_us())))
            _charge_windows(connection, changes)
            _add(connection, rollups, _by_hour(changes))
            _add(connection, rollups_by_principal, _by_day(changes))
        return changes


def _still_due(connection: Connection, changes: Sequence[Change]) -> list[Change]:
    started = [change.call.started_at_us for change in changes]
    ids = [change.call.id for change in changes]
    kept = set(
        connection.scalars(
            select(calls.c.id).where(
                calls.c.started_at_us.between(min(started), max(started)), calls.c.id.in_(ids)
            )
        )
    )
    seen = reprices(connection, ids)
    return [c for c in changes if c.call.id in kept and seen.get(c.call.id, {}) == c.seen]


def _entries(changes: Iterable[Change], at_us: int) -> Iterable[dict[str, object]]:
    for change in changes:
        for entry in change.entries:
            yield {
                "id": f"aj-{at_us // 1000:012x}{os.urandom(10).hex()}",
                "call_id": change.call.id,
                "attempt": entry.attempt,
                "created_at_us": at_us,
                "amount_nano": entry.amount_nano,
                "reason": REPRICE,
                "price_source": entry.price_source,
                "price_version": entry.price_version,
                "charge": entry.charge,
            }


# Windows


def _charge_windows(connection: Connection, changes: Iterable[Change]) -> None:
    places, sums = _by_window(load_covers(connection), changes)
    if not sums:
        return
    keys = [
        {"budget_id": k.budget_id, "subject": k.subject, "starts_at": k.starts_at} for k in sums
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(budget_windows).on_conflict_do_nothing(), keys)
    w = budget_windows.c
    found = connection.execute(
        select(budget_windows)
        .where(tuple_(w.budget_id, w.subject, w.starts_at).in_([tuple(k.values()) for k in keys]))
        .order_by(w.budget_id, w.subject, w.starts_at)
        .with_for_update()
    ).all()
    changed = []
    for row in found:
        key = WindowKey(row.budget_id, row.subject, row.starts_at)
        totals = (row.spent_nano, row.held_nano, row.overdraft_nano)
        window = WindowState(key, places[key].budget, places[key].resets_at, *totals)
        charge(window, sums[key])
        changed.append(
            {
                "in_budget": key.budget_id,
                "in_subject": key.subject,
                "in_start": key.starts_at,
                "spent": window.spent_nano,
                "overdraft": window.overdraft_nano,
            }
        )
    connection.execute(_PUT_WINDOW, changed)


_PUT_WINDOW = (
    update(budget_windows)
    .where(
        budget_windows.c.budget_id == bindparam("in_budget"),
        budget_windows.c.subject == bindparam("in_subject"),
        budget_windows.c.starts_at == bindparam("in_start"),
    )
    .values(spent_nano=bindparam("spent"), overdraft_nano=bindparam("overdraft"))
)


def _by_window(
    covers: Covers, changes: Iterable[Change]
) -> tuple[dict[WindowKey, Place], dict[WindowKey, int]]:
    """The counted windows that the calls fall under. One older than its budget is counted from the rows."""
    places: dict[WindowKey, Place] = {}
    sums: dict[WindowKey, int] = {}
    for change in changes:
        call, nano = change.call, change.amount_nano
        if not nano:
            continue
        for place in covers.of(_principal(change), call.model, call.started_at_us).places:
            if place.counted:
                places[place.key] = place
                sums[place.key] = sums.get(place.key, 0) + nano
    return places, sums


def _principal(change: Change) -> Principal:
    call = change.call
    return Principal(
        Key(call.key_id, call.key, Team(call.team, call.organisation)),
        call.user,
        call.workflow,
        call.run,
        rows.tags_from(call.tags),
    )


# Rollups

_Counts = dict[Row, dict[str, int]]  # what is to be added, by the row's key


def _by_hour(changes: Iterable[Change]) -> _Counts:
    found: _Counts = {}
    for change in changes:
        call = change.call
        key = (
            (call.started_at_us - call.started_at_us % _HOUR_US) // 1_000_000,
            call.team,
            call.organisation,
            call.model_served or call.model_requested,
            call.upstream,
            call.endpoint,
            call.outcome,
        )
        counts = found.setdefault(key, {"cost_nano": 0, "unpriced": 0})
        counts["cost_nano"] += change.amount_nano
        counts["unpriced"] -= change.priced
    return found


def _by_day(changes: Iterable[Change]) -> _Counts:
    found: _Counts = {}
    for change in changes:
        call = change.call
        day = (call.started_at_us - call.started_at_us % _DAY_US) // 1_000_000
        key = (day, call.team, call.key, call.user, call.workflow)
        counts = found.setdefault(key, {"cost_nano": 0})
        counts["cost_nano"] += change.amount_nano
    return found


def _add(connection: Connection, table: Table, counts: _Counts) -> None:
    """Add to rows that are there: those of the calls that are adjusted."""
    columns = list(table.primary_key)
    if connection.dialect.name == "postgresql":
        # Locked in the order in which servers write them, so that none waits for the other in a ring.
        lock = select(columns[0]).where(tuple_(*columns).in_(list(counts)))
        connection.execute(lock.order_by(*columns).with_for_update())
    names = list(next(iter(counts.values())))
    statement = (
        update(table)
        .where(*(column == bindparam(f"in_{column.name}") for column in columns))
        .values({name: table.c[name] + bindparam(f"by_{name}") for name in names})
    )
    connection.execute(
        statement,
        [
            {f"in_{column.name}": value for column, value in zip(columns, key, strict=True)}
            | {f"by_{name}": n for name, n in added.items()}
            for key, added in counts.items()
        ],
    )
