"""Calls as they were recorded: pages of them, one with its attempts, and all of them to export.

Every query has a name and a sentence. Pages go by key, not by offset: call ids are in the order of
time, so that a page deep down costs what the first one does and new calls shift nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import RowMapping, Select, func, or_, select

from proxy.core.present import CallRow
from proxy.store.adjusted import adjusted
from proxy.store.call_days import days_of, is_somebodys, stretches
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.reports import NO_CURSOR, BadCursor, Reports, SpendPage, SpendQuery
from proxy.store.rows import CallDetail, adjustment_row, attempt_row, call_row
from proxy.store.schema import adjustments, attempts, calls

EXPORT_PAGE = 1000
_CALL = "fb-"  # how an id begins
_TIME_DIGITS = 18  # of microseconds: more are no time that a BIGINT holds


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some calls, the newest first, and where the next page begins (None: there is none)."""

    items: list[CallRow]
    next_cursor: str | None


class Records:
    """Reads what was recorded. Every method raises LedgerError where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reports = Reports(database)

    async def calls(self, wanted: CallFilter, limit: int, cursor: str | None = None) -> CallPage:
        """A page of calls, the newest first."""
        rows = await self._newest(wanted, limit + 1, cursor)
        items = [call_row(row) for row in rows[:limit]]
        return CallPage(items, _cursor(rows[limit - 1]) if len(rows) > limit else None)

    async def _newest(
        self, wanted: CallFilter, limit: int, cursor: str | None
    ) -> Sequence[RowMapping]:
        query = newest_calls(wanted, limit, cursor)
        if not is_somebodys(wanted):
            return await self._database.fetch(query)
        days = await self._database.fetch(days_of(wanted))
        rows: list[RowMapping] = []
        for stretch in stretches(wanted, [(row["day"], row["team"]) for row in days]):
            rows += await self._database.fetch(newest_calls(stretch, limit - len(rows), cursor))
            if len(rows) == limit:
                break
        return rows

    async def spend(self, query: SpendQuery, limit: int, cursor: str | None = None) -> SpendPage:
        """A page of what was spent, grouped. Raises BadCursor."""
        return await self._reports.spend(query, limit, cursor)

    async def call(self, call_id: str) -> CallDetail | None:
        """One call with its attempts and adjustments."""
        rows = await self._database.fetch(_CALLS.where(calls.c.id == call_id))
        if not rows:
            return None
        tries = await self._database.fetch(_attempts_of(call_id))
        corrections = await self._database.fetch(_adjustments_of(call_id))
        return CallDetail(
            **asdict(call_row(rows[0])),
            attempt_rows=[attempt_row(row) for row in tries],
            adjustments=[adjustment_row(row) for row in corrections],
        )

    async def export(self, wanted: CallFilter) -> AsyncIterator[list[CallRow]]:
        """All calls in the order of time, some at once, in flat memory."""
        after = ""
        while True:
            rows = await self._database.fetch(_calls_after(wanted, after))
            if rows:
                after = rows[-1]["id"]
                yield [call_row(row) for row in rows]
            if len(rows) < EXPORT_PAGE:
                return

    async def count(self, wanted: CallFilter) -> int:
        """How many calls there are."""
        rows = await self._database.fetch(_count(wanted))
        return int(rows[0]["calls"])


# Calls, with what was added to their charges since.
_CALLS: Select[tuple[object, ...]] = select(calls, adjusted().label("adjusted_nano"))


def newest_calls(wanted: CallFilter, limit: int, before: str | None) -> Select[tuple[object, ...]]:
    """The newest calls, or the newest before a cursor. Raises BadCursor.

    By time first: that is the order of the indexes on time and on team and time, so that nothing is
    sorted and reading stops with the page.
    """
    query = _CALLS.where(*wanted.conditions())
    time = calls.c.started_at_us
    if before is not None:
        at_us, _, call_id = before.rpartition(".")
        if at_us.isascii() and at_us.isdigit():
            at = int(at_us[:_TIME_DIGITS])
            query = query.where(time <= at, or_(time < at, calls.c.id < call_id))
        elif before.startswith(_CALL):
            query = query.where(calls.c.id < before)
        else:
            raise BadCursor(NO_CURSOR)
    return query.order_by(time.desc(), calls.c.id.desc()).limit(limit)


def _cursor(row: RowMapping) -> str:
    return f"{row['started_at_us']}.{row['id']}"


def _calls_after(wanted: CallFilter, after: str) -> Select[tuple[object, ...]]:
    """The next calls after an id, in the order of time."""
    query = _CALLS.where(*wanted.conditions(), calls.c.id > after)
    return query.order_by(calls.c.id).limit(EXPORT_PAGE)


def _attempts_of(call_id: str) -> Select[tuple[object, ...]]:
    """A call's attempts in the order in which they were sent."""
    query = select(attempts).where(attempts.c.call_id == call_id)
    return query.order_by(attempts.c.number)


def _adjustments_of(call_id: str) -> Select[tuple[object, ...]]:
    """A call's adjustments in the order in which they were made."""
    query = select(adjustments).where(adjustments.c.call_id == call_id)
    return query.order_by(adjustments.c.created_at_us, adjustments.c.id)


def _count(wanted: CallFilter) -> Select[int]:
    """How many calls a filter leaves."""
    return select(func.count().label("calls")).select_from(calls).where(*wanted.conditions())
