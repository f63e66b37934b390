"""What was spent, grouped: from the rollups where they know the grouping, else from the calls.

The rollups are written in the same transaction as the calls, so that both say the same; they only
cut time into hours (teams, models, upstreams, endpoints) or days (keys, users, workflows).
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Integer,
    RowMapping,
    Select,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from proxy.core.errors import FareboxError
from proxy.core.money import usd
from proxy.core.present import iso_second
from proxy.store.adjusted import adjusted, still_unpriced
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.schema import calls, rollups, rollups_by_principal

HOUR_S = 3600
DAY_S = 86_400
US = 1_000_000


class GroupBy(StrEnum):
    """What spend can be grouped by."""

    TEAM = "team"
    ORGANISATION = "organisation"
    MODEL = "model"
    UPSTREAM = "upstream"
    ENDPOINT = "endpoint"
    OUTCOME = "outcome"
    KEY = "key"
    USER = "user"
    WORKFLOW = "workflow"
    RUN = "run"
    TAG = "tag"
    DAY = "day"
    HOUR = "hour"


_TIMES = (GroupBy.DAY, GroupBy.HOUR)
_IN_ROLLUPS = frozenset(
    (
        GroupBy.TEAM,
        GroupBy.ORGANISATION,
        GroupBy.MODEL,
        GroupBy.UPSTREAM,
        GroupBy.ENDPOINT,
        GroupBy.OUTCOME,
        *_TIMES,
    )
)
_IN_PRINCIPALS = frozenset((GroupBy.TEAM, GroupBy.KEY, GroupBy.USER, GroupBy.WORKFLOW, GroupBy.DAY))


class BadCursor(FareboxError):
    """The cursor is none that this query gave out."""


class UnknownGroup(FareboxError):
    """There is no such thing to group by."""


def read_groups(text: str) -> tuple[GroupBy, ...]:
    """Groups as people write them: ``team,model``. Raises UnknownGroup."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {group.value for group in GroupBy}
    if unknown := [name for name in names if name not in known]:
        raise UnknownGroup(
            f"can't group by {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    return tuple(dict.fromkeys(GroupBy(name) for name in names))


@dataclass(frozen=True, slots=True)
class SpendQuery:
    """What was spent, by what, when, and by whom. Times are epoch seconds."""

    group_by: tuple[GroupBy, ...]
    from_s: int | None = None
    to_s: int | None = None
    team: str | None = None
    model: str | None = None
    upstream: str | None = None
    parts: bool = True  # whether cached, cache-written and reasoning tokens are asked for

    @property
    def by_time(self) -> bool:
        """Whether the groups are shown in the order of time instead of cost."""
        return any(group in _TIMES for group in self.group_by)


@dataclass(frozen=True, slots=True)
class SpendRow:
    """What one group spent. A count that the source of the row does not keep is None."""

    group: dict[str, str]
    calls: int
    errors: int | None
    unpriced: int | None
    input_tokens: int
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int
    reasoning_tokens: int | None
    cost_usd: str


@dataclass(frozen=True, slots=True)
class SpendPage:
    """Some groups, the dearest first (by time: the earliest first), and where the next page begins."""

    items: list[SpendRow]
    next_cursor: str | None
    costs_nano: list[int]  # of the items, in their order: their ``cost_usd`` as it is added up


class Reports:
    """Sums over calls. Raises LedgerError where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spend(self, query: SpendQuery, limit: int, cursor: str | None = None) -> SpendPage:
        """A page of groups. Raises BadCursor."""
        groups = [group.value for group in query.group_by]
        statement = _page(query, self._grouped(query), limit + 1, cursor)
        rows = await self._database.fetch(statement)
        shown = rows[:limit]
        items = [_spend_row(row, groups) for row in shown]
        after = _cursor(rows[limit - 1], groups) if len(rows) > limit else None
        return SpendPage(items, after, [row["cost_nano"] or 0 for row in shown])

    def _grouped(self, query: SpendQuery) -> Select[tuple[object, ...]]:
        wanted = frozenset(query.group_by)
        if wanted <= _IN_ROLLUPS and _aligned(query, HOUR_S):
            return _from_rollups(query)
        filtered = query.model is not None or query.upstream is not None
        if wanted <= _IN_PRINCIPALS and not filtered and _aligned(query, DAY_S):
            return _from_principals(query)
        return _from_calls(query, sqlite=self._database.is_sqlite)


def _aligned(query: SpendQuery, step_s: int) -> bool:
    return not (query.from_s or 0) % step_s and not (query.to_s or 0) % step_s


# The three sources

_SUMS = (
    "calls",
    "errors",
    "unpriced",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano",
)
_PARTS = frozenset(("cached_tokens", "cache_write_tokens", "reasoning_tokens"))


def _from_rollups(query: SpendQuery) -> Select[tuple[object, ...]]:
    """Spend by hour, team, organisation, model, upstream, endpoint or outcome."""
    conditions = _between(rollups.c.hour, query) + [
        rollups.c[name] == value
        for name in ("team", "model", "upstream")
        if (value := getattr(query, name)) is not None
    ]
    source: FromClause = rollups
    if set(query.group_by) <= {GroupBy.DAY, GroupBy.TEAM}:
        # The key begins with hour and team: adding up along it sorts nothing, and leaves a fifth to sort.
        key = [rollups.c.hour, rollups.c.team]
        source, conditions = _summed(query, rollups, key, conditions).subquery(), []
    columns = [_rollup_group(source, "hour", group) for group in query.group_by]
    return _summed(query, source, columns, conditions)


def _from_principals(query: SpendQuery) -> Select[tuple[object, ...]]:
    """Spend by day, team, key, user or workflow."""
    table = rollups_by_principal
    columns = [_rollup_group(table, "day", group) for group in query.group_by]
    conditions = _between(table.c.day, query)
    if query.team is not None:
        conditions.append(table.c.team == query.team)
    return _summed(query, table, columns, conditions)


def _from_calls(query: SpendQuery, *, sqlite: bool) -> Select[tuple[object, ...]]:
    """Spend by anything, over the calls themselves."""
    source: FromClause = calls
    columns: list[ColumnElement[Any]] = []
    for group in query.group_by:
        if group is GroupBy.TAG:
            tags = _tags(sqlite=sqlite)
            source = calls.join(tags, literal(value=True))
            columns.append((tags.c.key + "=" + tags.c.value).label("tag"))
        else:
            columns.append(_call_group(group))
    wanted = CallFilter(
        team=query.team,
        upstream=query.upstream,
        from_us=None if query.from_s is None else query.from_s * US,
        to_us=None if query.to_s is None else query.to_s * US,
    )
    conditions = wanted.conditions()
    if query.model is not None:
        conditions.append(_served_model == query.model)
    sums = [_CALL_SUMS[name].label(name) for name in _SUMS]
    return select(*columns, *sums).select_from(source).where(*conditions).group_by(*columns)


def _summed(
    query: SpendQuery,
    table: FromClause,
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
) -> Select[tuple[object, ...]]:
    asked = {n for n in _SUMS if n in table.c and (query.parts or n not in _PARTS)}
    # SQLite carries each that is asked for through the sorting of the groups.
    sums = [_sum(table.c[n]).label(n) if n in asked else literal(None).label(n) for n in _SUMS]
    return select(*columns, *sums).select_from(table).where(*conditions).group_by(*columns)


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # PostgreSQL adds BIGINTs up as NUMERIC.
    return cast(func.sum(column), calls.c.cost_nano.type)


_served_model = func.coalesce(func.nullif(calls.c.model_served, ""), calls.c.model_requested)
_CALL_SUMS: dict[str, ColumnElement[Any]] = {
    "calls": func.count(),
    "errors": _sum(cast(calls.c.status >= 400, Integer)),  # noqa: PLR2004 - where HTTP's errors begin
    "unpriced": _sum(cast(still_unpriced(), Integer)),
    "cost_nano": _sum(calls.c.cost_nano + adjusted()),
} | {name: _sum(calls.c[name]) for name in _SUMS if name.endswith("_tokens")}


def _rollup_group(table: FromClause, time: str, group: GroupBy) -> ColumnElement[Any]:
    if group is GroupBy.HOUR:
        return table.c[time].label("hour")
    if group is GroupBy.DAY:
        return (table.c[time] - table.c[time] % DAY_S).label("day")
    return table.c[group.value]


def _call_group(group: GroupBy) -> ColumnElement[Any]:
    if group is GroupBy.MODEL:
        return _served_model.label("model")
    if group in _TIMES:
        step = (HOUR_S if group is GroupBy.HOUR else DAY_S) * US
        started = calls.c.started_at_us
        return cast((started - started % step) // US, calls.c.cost_nano.type).label(group.value)
    return calls.c[group.value]


def _tags(*, sqlite: bool) -> Any:
    """Each tag of a call as a row of its own."""
    text = func.nullif(calls.c.tags, "")
    each = func.json_each(text) if sqlite else func.json_each_text(cast(text, JSON))
    return each.table_valued("key", "value", joins_implicitly=True)


def _between(column: ColumnElement[int], query: SpendQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.from_s is not None:
        conditions.append(column >= query.from_s)
    if query.to_s is not None:
        conditions.append(column < query.to_s)
    return conditions


# Pages


def _page(
    query: SpendQuery, grouped: Select[tuple[object, ...]], limit: int, cursor: str | None
) -> Select[tuple[object, ...]]:
    """Some groups after a cursor: in the order of time, or by cost with the groups' names to break ties."""
    table = grouped.subquery()
    names = [table.c[group.value] for group in query.group_by]
    cost = table.c.cost_nano
    order = names if query.by_time or not names else [cost.desc(), *names]
    page = select(table).order_by(*order).limit(limit)
    if cursor is None or not names:
        return page
    after_cost, after_names = _read_cursor(cursor, len(names))
    later = tuple_(*names) > tuple_(*(literal(name) for name in after_names))
    if query.by_time:
        return page.where(later)
    return page.where(or_(cost < after_cost, and_(cost == after_cost, later)))


def _cursor(row: RowMapping, groups: Sequence[str]) -> str:
    position = [row["cost_nano"], [row[group] for group in groups]]
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_cursor(cursor: str, groups: int) -> tuple[int, list[str | int]]:
    try:
        cost, names = json.loads(base64.urlsafe_b64decode(cursor))
        if not isinstance(cost, int) or len(names) != groups:
            raise BadCursor(NO_CURSOR)
    except (binascii.Error, ValueError, TypeError):
        raise BadCursor(NO_CURSOR) from None
    return cost, names


NO_CURSOR = "this cursor belongs to another query; leave it out to begin at the first page"


def _spend_row(row: RowMapping, groups: Sequence[str]) -> SpendRow:
    return SpendRow(
        group={name: _group_text(name, row[name]) for name in groups},
        calls=row["calls"] or 0,
        errors=row["errors"],
        unpriced=row["unpriced"],
        input_tokens=row["input_tokens"] or 0,
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"] or 0,
        reasoning_tokens=row["reasoning_tokens"],
        cost_usd=usd(row["cost_nano"] or 0),
    )


def _group_text(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    return iso_second(value) if name == "hour" else iso_second(value)[:10]
