"""How many calls each hour has: office hours, quiet weekends, growth, and now and then a rush."""

from datetime import UTC, datetime

HOUR_S = 3600
_WEEKDAYS = (1.0, 1.08, 1.1, 1.05, 0.92, 0.34, 0.28)
_OFFICE = (
    0.14, 0.10, 0.08, 0.08, 0.10, 0.16, 0.30, 0.62,
    1.05, 1.45, 1.60, 1.55, 1.25, 1.45, 1.60, 1.55,
    1.40, 1.15, 0.85, 0.66, 0.52, 0.40, 0.28, 0.20,
)  # fmt: skip
_NIGHT = (1.6, 2.2, 2.4, 2.0, 1.4, 0.7, *(0.35,) * 16, 0.6, 1.0)
_GROWTH = 0.8  # by how much the end of the time is busier than its beginning


def by_day(second: int) -> float:
    """How busy the office is in the hour that begins then."""
    moment = datetime.fromtimestamp(second, UTC)
    return _OFFICE[moment.hour] * _WEEKDAYS[moment.weekday()]


def by_night(second: int) -> float:
    """How busy the machines that work at night are."""
    return _NIGHT[datetime.fromtimestamp(second, UTC).hour]


def hourly_counts(calls: int, start_s: int, hours: int) -> list[int]:
    """So many calls over so many hours: each gets its share, and together they are exactly as many."""
    weights = [
        (0.75 * by_day(start_s + n * HOUR_S) + 0.25 * by_night(start_s + n * HOUR_S))
        * (1 + _GROWTH * n / hours)
        for n in range(hours)
    ]
    total = sum(weights)
    counts = []
    given, due = 0, 0.0
    for weight in weights:
        due += calls * weight / total
        counts.append(round(due) - given)
        given += counts[-1]
    counts[-1] += calls - given
    return counts
