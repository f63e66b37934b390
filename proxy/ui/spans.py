"""The stretch of time that a page shows: named, or from one day to another, in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

HOUR_S = 3600
DAY_S = 86_400
DEFAULT = "30d"
NAMES = {
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "month": "This month",
    "last-month": "Last month",
}
_LENGTHS = {"7d": 7, "30d": 30, "90d": 90}
_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class Span:
    """From a second to before another. ``name`` is one of ``NAMES``, or "" for days that were chosen."""

    from_s: int
    until_s: int
    name: str

    @property
    def by_hour(self) -> bool:
        """Whether it is so short that hours are shown instead of days."""
        return self.until_s - self.from_s <= 2 * DAY_S

    @property
    def step_s(self) -> int:
        """The length of what is shown as one."""
        return HOUR_S if self.by_hour else DAY_S

    @property
    def steps(self) -> range:
        """Where each hour or day begins."""
        return range(self.from_s, self.until_s, self.step_s)

    @property
    def label(self) -> str:
        """How it is called in a sentence."""
        if self.name:
            return NAMES[self.name].lower()
        return f"{iso_day(self.from_s)} to {iso_day(self.until_s - 1)}"

    @property
    def query(self) -> dict[str, str]:
        """What stands for it in an address."""
        if self.name:
            return {} if self.name == DEFAULT else {"range": self.name}
        return {"from": iso_day(self.from_s), "to": iso_day(self.until_s - 1)}

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day, for a form."""
        return iso_day(self.from_s), iso_day(self.until_s - 1)


def read_span(name: str, first: str, last: str, now_s: float, default: str = DEFAULT) -> Span:
    """What an address says. What it says wrongly is as if it said nothing."""
    if first or last:
        chosen = _chosen(first, last, now_s)
        if chosen is not None:
            return chosen
    return named(name if name in NAMES else default, now_s)


def named(name: str, now_s: float) -> Span:
    """A span by its name, up to the end of the hour or day of now."""
    today = datetime.fromtimestamp(now_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = int((today + timedelta(days=1)).timestamp())
    month = today.replace(day=1)
    if name == "24h":
        until = int(now_s) // HOUR_S * HOUR_S + HOUR_S
        return Span(until - DAY_S, until, name)
    if name == "month":
        return Span(int(month.timestamp()), tomorrow, name)
    if name == "last-month":
        before = (month - timedelta(days=1)).replace(day=1)
        return Span(int(before.timestamp()), int(month.timestamp()), name)
    return Span(tomorrow - _LENGTHS[name] * DAY_S, tomorrow, name)


def _chosen(first: str, last: str, now_s: float) -> Span | None:
    try:
        until = date.fromisoformat(last) if last else datetime.fromtimestamp(now_s, UTC).date()
        since = date.fromisoformat(first) if first else until - timedelta(days=29)
        end = until + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    if since > until or (end - since).days > _MOST_DAYS:
        return None
    return Span(_second(since), _second(end), "")


def _second(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def iso_day(second: int) -> str:
    """The day of a second: 2026-11-03."""
    return datetime.fromtimestamp(second, UTC).date().isoformat()
