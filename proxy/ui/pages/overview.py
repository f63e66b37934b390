"""Overview: what is spent, on what, where the month is going, and what changed."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from proxy.store.reports import GroupBy
from proxy.ui import charts, words
from proxy.ui.charts import Series
from proxy.ui.forecast import forecast
from proxy.ui.pages.budgets import rows_of
from proxy.ui.rendering import render
from proxy.ui.sight import Sight, Spent
from proxy.ui.spans import DAY_S, HOUR_S, NAMES, Span, iso_day, named, read_span

STACKS = {
    "team": GroupBy.TEAM,
    "model": GroupBy.MODEL,
    "upstream": GroupBy.UPSTREAM,
    "workflow": GroupBy.WORKFLOW,
}
_WEEK_S = 7 * DAY_S
_MOVERS = 6
_BUDGETS = 5


async def show(request: Request, sight: Sight) -> Response:
    """The page."""
    await sight.settled()
    asked = request.query_params
    now_s = sight.now_s()
    span = read_span(asked.get("range", ""), asked.get("from", ""), asked.get("to", ""), now_s)
    by = asked.get("by", "")
    by = by if by in STACKS else ("team" if sight.viewer.is_admin else "model")
    days, budgets = await asyncio.gather(_days(sight, span, by, now_s), sight.budgets())
    spent, month, moved = await asyncio.gather(
        _spent(sight, span, by, days),
        _month(sight, by, days, now_s),
        _movers(sight, by, days, now_s),
    )
    series = _series(spent, span, by)
    shown = charts.rest_together(series)
    tight = sorted(rows_of(budgets), key=lambda row: -row.share)[:_BUDGETS]
    return render(
        request,
        "overview.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        span=span,
        spans=NAMES,
        by=by,
        stacks=list(STACKS),
        chart=charts.stacked_bars(_names(span), shown, f"Spend by {by}, {span.label}"),
        series=shown,
        steps=list(zip(_names(span), *(s.values for s in shown), strict=True)),
        total=sum(s.total for s in series),
        calls=sum(row.calls for row in spent),
        month=month,
        movers=moved,
        budgets=tight,
    )


async def _days(sight: Sight, span: Span, by: str, now_s: float) -> list[Spent]:
    """What each day spent by what the chart is stacked by: of both months, and of what the chart shows."""
    since, until = named("last-month", now_s).from_s, named("month", now_s).until_s
    if not span.by_hour:
        since, until = min(span.from_s, since), max(span.until_s, until)
    return await sight.spend((GroupBy.DAY, STACKS[by]), Span(since, until, ""))


async def _spent(sight: Sight, span: Span, by: str, days: Sequence[Spent]) -> list[Spent]:
    """What the chart shows."""
    if span.by_hour:
        return await sight.spend((GroupBy.HOUR, STACKS[by]), span)
    starts = {iso_day(at) for at in span.steps}
    return [row for row in days if row.group["day"] in starts]


# The chart


def _names(span: Span) -> list[str]:
    if span.by_hour:
        return [f"{words.hour(at)}, {words.short_day(at)}" for at in span.steps]
    return [f"{words.short_day(at)}, {words.day(at)[:3]}" for at in span.steps]


def _series(spent: Iterable[Spent], span: Span, by: str) -> list[Series]:
    place = {at: n for n, at in enumerate(span.steps)}
    found: dict[str, list[int]] = {}
    for row in spent:
        at = _second(row.group["hour" if span.by_hour else "day"])
        if at in place:
            values = found.setdefault(row.group[by] or "(none)", [0] * len(place))
            values[place[at]] += row.nano
    return [Series(name, values) for name, values in found.items() if any(values)]


def _second(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=UTC).timestamp())


# This month and the last


@dataclass(frozen=True, slots=True)
class Month:
    """A month against the last one, and where it is going."""

    name: str
    spent: int
    so_far_last: int  # of the last month, up to the same time of it
    last: int
    last_name: str
    forecast: int | None
    calls: int
    errors: int
    unpriced: int
    chart: Markup

    @property
    def change(self) -> str:
        """Against the last month at the same time."""
        return change(self.spent, self.so_far_last)


async def _month(sight: Sight, by: str, days: Iterable[Spent], now_s: float) -> Month:
    """The months, of what their days spent."""
    this, last = named("month", now_s), named("last-month", now_s)
    if by == "workflow":  # the rollup of those keeps neither errors nor what has no price
        days = await sight.spend((GroupBy.DAY,), Span(last.from_s, this.until_s, ""))
    until = _same_time(last, this, now_s)
    part = Span(until // DAY_S * DAY_S, until, "")  # the hours of the last of these days
    hours = await sight.spend((), part) if part.steps else []
    nano: dict[int, int] = {}
    mine = []
    for row in days:
        at = _second(row.group["day"])
        if last.from_s <= at < this.until_s:
            nano[at] = nano.get(at, 0) + row.nano
            if at >= this.from_s:
                mine.append(row)
    spent = sum(row.nano for row in mine)
    before = [nano.get(at, 0) for at in _days_of(last)]
    full = sum(value for at, value in nano.items() if at < part.from_s)
    ahead = forecast(nano, this.from_s, _month_after(this.from_s), now_s)
    return Month(
        name=f"{datetime.fromtimestamp(this.from_s, UTC):%B}",
        spent=spent,
        so_far_last=full + sum(row.nano for row in hours),
        last=sum(before),
        last_name=f"{datetime.fromtimestamp(last.from_s, UTC):%B}",
        forecast=ahead,
        calls=sum(row.calls for row in mine),
        errors=sum(row.errors for row in mine),
        unpriced=sum(row.unpriced for row in mine),
        chart=charts.months(
            [nano.get(at, 0) for at in _days_of(this)],
            before,
            ahead,
            f"{words.dollars(spent)} this month, {words.dollars(sum(before))} in the last one",
        ),
    )


def _days_of(month: Span) -> range:
    """Where its days begin, also of one so young that a chart shows its hours."""
    return range(month.from_s, month.until_s, DAY_S)


def _same_time(last: Span, this: Span, now_s: float) -> int:
    """The hour of the last month that is as far into it as now is into this one."""
    into = int(now_s - this.from_s) // HOUR_S * HOUR_S
    return min(last.from_s + max(into, HOUR_S), last.until_s)


def _month_after(month_s: int) -> int:
    first = datetime.fromtimestamp(month_s, UTC)
    return int((first + timedelta(days=32)).replace(day=1).timestamp())


# What changed


@dataclass(frozen=True, slots=True)
class Mover:
    """What one team or model spent in the last seven full days, and in the seven before."""

    kind: str
    name: str
    now: int
    before: int
    line: Markup

    @property
    def difference(self) -> int:
        """How much more."""
        return self.now - self.before

    @property
    def change(self) -> str:
        """The same as a share."""
        return change(self.now, self.before)


async def _movers(sight: Sight, by: str, days: list[Spent], now_s: float) -> list[Mover]:
    today = int(now_s) // DAY_S * DAY_S
    span = Span(today - 2 * _WEEK_S, today, "")
    kinds: Sequence[GroupBy] = (GroupBy.TEAM, GroupBy.MODEL)
    if not sight.viewer.is_admin:
        kinds = (GroupBy.MODEL, GroupBy.WORKFLOW)

    async def of(kind: GroupBy) -> list[Spent]:
        return days if kind == by else await sight.spend((GroupBy.DAY, kind), span)

    found = await asyncio.gather(*(of(kind) for kind in kinds))
    movers = [
        mover
        for kind, rows in zip(kinds, found, strict=True)
        for mover in _moved(kind.value, rows, span)
        if mover.difference
    ]
    return sorted(movers, key=lambda m: (-abs(m.difference), m.kind, m.name))[:_MOVERS]


def _moved(kind: str, rows: Iterable[Spent], span: Span) -> Iterable[Mover]:
    days: dict[str, dict[int, int]] = {}
    for row in rows:
        name = row.group[kind] or "(none)"
        days.setdefault(name, {})[_second(row.group["day"])] = row.nano
    for name, by_day in days.items():
        values = [by_day.get(at, 0) for at in span.steps]
        yield Mover(kind, name, sum(values[7:]), sum(values[:7]), charts.spark(values))


def change(now: int, before: int) -> str:
    """+12 %, -3 %; "new" where there was nothing before."""
    if not before:
        return "new" if now else "–"
    return f"{100 * (now - before) / before:+.0f} %"
