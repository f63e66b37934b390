"""How long models take, from a bounded sample of calls.

A percentile can't be summed up by hour, and a histogram in the rollups would cost every call. So some
ten thousand calls are read, at points of the index that lie where the calls are: the rollups know
how many each hour has. However many calls there are, that takes the same time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import Select, func, select, union_all

from proxy.store.engine import Database
from proxy.store.schema import calls, rollups

POINTS = 50
RUN = 200  # calls that are read from each point on
HOUR_S = 3600
_US = 1_000_000
_PERCENT_50, _PERCENT_95 = 50, 95


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one model's answers took, in microseconds, over so many sampled calls."""

    sampled: int
    p50_us: int
    p95_us: int
    first_byte_p95_us: int | None


class Latencies:
    """Reads them. Raises LedgerError where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_model(
        self, from_s: int, until_s: int, team: str | None = None
    ) -> dict[str, Latency]:
        """Of each model that was served in whole hours. ``team`` counts its calls only."""
        hours = await self._database.fetch(_calls_by_hour(from_s, until_s, team))
        counts = [(int(row["hour"]), int(row["calls"])) for row in hours]
        if not counts:
            return {}
        starts = points(counts)
        rows = await self._database.fetch(_sample(starts, until_s * _US, team))
        found: dict[str, list[tuple[int, int | None]]] = {}
        for row in rows:
            found.setdefault(row["model"], []).append((row["duration_us"], row["first_byte_us"]))
        return {model: _latency(timings) for model, timings in found.items()}


def points(counts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where to begin to read, and how many calls: evenly over the calls of these hours, not over time.

    Microseconds since the epoch; one point for all where there are no more calls than are read.
    """
    sums = list(accumulate(count for _, count in counts))
    total = sums[-1]
    if total <= POINTS * RUN:
        return [(counts[0][0] * _US, POINTS * RUN)]
    starts = []
    for n in range(POINTS):
        wanted = total * n // POINTS
        place = bisect_right(sums, wanted)
        hour, count = counts[place]
        into = wanted - (sums[place] - count)
        starts.append((hour * _US + into * HOUR_S * _US // count, RUN))
    return starts


def _calls_by_hour(from_s: int, until_s: int, team: str | None) -> Select[tuple[object, ...]]:
    """How many calls each hour has."""
    query = select(rollups.c.hour, func.sum(rollups.c.calls).label("calls"))
    query = query.where(rollups.c.hour >= from_s, rollups.c.hour < until_s)
    if team is not None:
        query = query.where(rollups.c.team == team)
    return query.group_by(rollups.c.hour).order_by(rollups.c.hour)


def _sample(
    starts: Sequence[tuple[int, int]], until_us: int, team: str | None
) -> Select[tuple[object, ...]]:
    """The timings of the answered calls among some runs of calls."""
    runs = [
        select(
            calls.c.model_served.label("model"),
            calls.c.duration_us,
            calls.c.first_byte_us,
            calls.c.outcome,
        )
        .where(calls.c.started_at_us >= start_us, calls.c.started_at_us < until_us)
        .where(*(() if team is None else (calls.c.team == team,)))
        .order_by(calls.c.started_at_us)
        .limit(run)
        .subquery()
        for start_us, run in starts
    ]
    each = union_all(*(select(run) for run in runs)).subquery()
    query = select(each.c.model, each.c.duration_us, each.c.first_byte_us)
    return query.where(each.c.outcome == "completed", each.c.model != "")


def _latency(timings: Sequence[tuple[int, int | None]]) -> Latency:
    durations = sorted(duration for duration, _ in timings)
    firsts = sorted(first for _, first in timings if first is not None)
    return Latency(
        sampled=len(durations),
        p50_us=percentile(durations, _PERCENT_50),
        p95_us=percentile(durations, _PERCENT_95),
        first_byte_p95_us=percentile(firsts, _PERCENT_95) if firsts else None,
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest of the values that so many percent of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
