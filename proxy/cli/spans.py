"""Times and spans of time as they are written on a command line."""

import re
from datetime import UTC, date, datetime

import typer

_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def moment(text: str) -> datetime:
    """A date or a time in ISO 8601; without a zone it is UTC. For an option."""
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no date or time; write 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span_s(text: str) -> float:
    """A span of time, in seconds. For an option."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time; write 30s, 15m, 24h, 30d or 8w")
    return int(found[1]) * _SECONDS[found[2]]
