"""What a month will have cost when it is over: what is spent, and each day to come like its weekday.

A day to come costs what the same weekday did on the average of the last four weeks; where the ledger
is younger than a week, what a day did on the average. Sums in whole nano-dollars.
"""

from collections.abc import Mapping

DAY_S = 86_400
_WEEKS = 4
_LEAST_DAYS = 3  # with fewer full days, a forecast would be a guess


def forecast(
    by_day: Mapping[int, int], month_from_s: int, month_until_s: int, now_s: float
) -> int | None:
    """Nano-dollars at the end of the month; None where there is too little to go by.

    ``by_day`` is the spend of each day by its first second, over this month and the weeks before.
    """
    today = int(now_s) // DAY_S * DAY_S
    first = min((day for day, nano in by_day.items() if nano), default=today)
    if (today - first) // DAY_S < _LEAST_DAYS:
        return None
    spent = sum(nano for day, nano in by_day.items() if month_from_s <= day < month_until_s)
    rest_of_today = _like(by_day, today, today, first) * (today + DAY_S - int(now_s)) // DAY_S
    days = range(today + DAY_S, month_until_s, DAY_S)
    return spent + rest_of_today + sum(_like(by_day, day, today, first) for day in days)


def _like(by_day: Mapping[int, int], day: int, today: int, first: int) -> int:
    """What a day costs that is like the days before today."""
    week = 7 * DAY_S
    latest = today - (today - day) % week
    latest = latest if latest < today else latest - week
    alike = [d for n in range(_WEEKS) if (d := latest - n * week) >= first]
    if not alike:
        alike = list(range(max(first, today - week), today, DAY_S))
    return sum(by_day.get(d, 0) for d in alike) // len(alike)
