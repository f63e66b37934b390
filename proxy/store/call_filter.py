"""Which calls are meant: one filter for pages, exports and reports."""

from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, literal_column, or_

from proxy.core.call import Outcome
from proxy.store.schema import calls


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are meant; what is None does not matter. Times are microseconds since the epoch."""

    team: str | None = None
    organisation: str | None = None
    key: str | None = None
    user: str | None = None
    workflow: str | None = None
    run: str | None = None
    tag: str | None = None  # name=value, or a name alone for any value
    model: str | None = None  # as served or as requested
    upstream: str | None = None
    endpoint: str | None = None
    outcome: str | None = None
    status: int | None = None
    from_us: int | None = None  # this moment and later
    to_us: int | None = None  # before this moment

    def conditions(self) -> list[ColumnElement[bool]]:
        """What the rows of ``calls`` must fulfil."""
        found = [
            calls.c[name] == value
            for name in _COLUMNS
            if (value := getattr(self, name)) is not None
        ]
        if self.outcome not in {None, Outcome.COMPLETED}:
            found.append(_RARE)
        if self.model is not None:
            found.append(
                or_(calls.c.model_served == self.model, calls.c.model_requested == self.model)
            )
        if self.tag is not None:
            found.append(calls.c.tags.contains(_tag_text(self.tag), autoescape=True))
        if self.from_us is not None:
            found.append(calls.c.started_at_us >= self.from_us)
        if self.to_us is not None:
            found.append(calls.c.started_at_us < self.to_us)
        return found


# In the words of the index of those: with a parameter, SQLite can't know that it has them all.
_RARE = calls.c.outcome != literal_column(f"'{Outcome.COMPLETED}'")
_COLUMNS = (
    "team",
    "organisation",
    "key",
    "user",
    "workflow",
    "run",
    "upstream",
    "endpoint",
    "outcome",
    "status",
)


def _tag_text(tag: str) -> str:
    """A tag as it stands in the JSON of ``calls.tags``.

    Quotes in names and values are escaped there, so that nothing but the tag itself looks like it.
    """
    name, separator, value = tag.partition("=")
    return f"{_quoted(name)}:" + (_quoted(value) if separator else "")


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
