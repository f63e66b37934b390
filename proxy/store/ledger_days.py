"""What the ledger has of some upstreams: attempts by day (UTC) and model, as a provider counts them.

Attempts, not calls: each may be billed. They are added up in the database, month by month, so that
memory stays the same and no statement runs long.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    cast,
    column,
    func,
    literal,
    select,
    type_coerce,
)

from proxy.core.usage import UsageSource
from proxy.store.engine import Database
from proxy.store.schema import adjustments, attempts

_DAY_S = 86_400
_US = 1_000_000
_CACHED = ("cached_input", "cached_audio_input", "cached_image_input")
_INPUT = ("input", "cache_write", "cache_write_1h", "audio_input", "image_input", *_CACHED)
_OUTPUT = ("output", "reasoning", "audio_output", "image_output")


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """What a day and model used, as the ledger has it."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0

    def __add__(self, other: "LedgerCounts") -> "LedgerCounts":
        return LedgerCounts(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano + other.cost_nano,
        )


async def ledger_days(
    database: Database, upstreams: Collection[str], days: Collection[str]
) -> dict[tuple[str, str], LedgerCounts]:
    """By day and model: metered attempts, their tokens, and their cost with adjustments."""
    found = {}
    for since, until in _spans(days):
        query = _attempts_by_day(upstreams, since, until, sqlite=database.is_sqlite)
        for row in await database.fetch(query):
            day = datetime.fromtimestamp(row["day"] * _DAY_S, UTC).date().isoformat()
            if day in days:
                counts = (int(row[name]) for name in LedgerCounts.__slots__)
                found[day, row["model"]] = LedgerCounts(*counts)
    return found


def _spans(days: Collection[str]) -> list[tuple[int, int]]:
    """The days, cut where months end, as microseconds."""
    starts: dict[str, list[int]] = {}
    for day in sorted(days):
        second = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
        starts.setdefault(day[:7], []).append(second)
    return [(month[0] * _US, (month[-1] + _DAY_S) * _US) for month in starts.values()]


def _attempts_by_day(
    upstreams: Collection[str], since_us: int, until_us: int, *, sqlite: bool
) -> Select[Any]:
    """Metered attempts at some upstreams, added up by day and model."""
    source, buckets = _buckets(sqlite=sqlite)
    day = (attempts.c.started_at_us // (_DAY_S * _US)).label("day")
    model = func.coalesce(func.nullif(attempts.c.model_served, ""), attempts.c.model).label("model")
    corrected = (
        select(func.coalesce(func.sum(adjustments.c.amount_nano), 0))
        .where(
            adjustments.c.call_id == attempts.c.call_id,
            adjustments.c.attempt == attempts.c.number,
        )
        .correlate(attempts)
        .scalar_subquery()
    )

    def total(names: Collection[str]) -> ColumnElement[Any]:
        return sum((func.coalesce(func.sum(buckets[name]), 0) for name in names), start=literal(0))

    return (
        select(
            day,
            model,
            func.count().label("requests"),
            total(_INPUT).label("input_tokens"),
            total(_CACHED).label("cached_tokens"),
            total(_OUTPUT).label("output_tokens"),
            func.sum(attempts.c.cost_nano + corrected).label("cost_nano"),
        )
        .select_from(source)
        .where(
            attempts.c.started_at_us >= since_us,
            attempts.c.started_at_us < until_us,
            attempts.c.upstream.in_(sorted(upstreams)),
            attempts.c.usage_source != str(UsageSource.NONE),
        )
        .group_by(day, model)
    )


def _buckets(*, sqlite: bool) -> tuple[FromClause, dict[str, ColumnElement[Any]]]:
    """The counts of an attempt as columns. PostgreSQL reads the JSON once for all of them."""
    names = (*_INPUT, *_OUTPUT)
    text = func.nullif(attempts.c.usage, "")
    if sqlite:
        return attempts, {name: type_coerce(text, JSON)[name].as_integer() for name in names}
    columns = [column(name, BigInteger) for name in names]
    usage = func.json_to_record(cast(func.coalesce(text, "{}"), JSON)).table_valued(*columns)
    derived = usage.render_derived("u", with_types=True)
    return attempts.join(derived, literal(value=True)), {name: derived.c[name] for name in names}
