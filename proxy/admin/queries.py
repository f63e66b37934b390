"""What the admin API can be asked: pages, stretches of time, which calls, which spend."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from proxy.core.budgets import Window, window_bounds
from proxy.core.call import Outcome
from proxy.store.call_filter import CallFilter
from proxy.store.clock import epoch_us

MOST = 1000


class Paged(BaseModel):
    """How much to give, and from where.

    An unknown parameter is refused: a filter with a typing error would quietly show everything.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    limit: Annotated[int, Field(ge=1, le=MOST)] = 100
    cursor: str | None = None


class Between(Paged):
    """A stretch of time; a time without zone is refused, for nobody knows whose it is."""

    since: Annotated[
        AwareDatetime | None, Field(alias="from", description="this time and later")
    ] = None
    until: Annotated[AwareDatetime | None, Field(alias="to", description="before this time")] = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("from must be before to")
        return self


class CallsQuery(Between):
    """Which calls are meant; filters are joined by "and"."""

    team: str | None = None
    organisation: str | None = None
    key: str | None = None
    user: str | None = None
    workflow: str | None = None
    run: str | None = None
    tag: Annotated[str | None, Field(description="name=value, or a name for any value")] = None
    model: Annotated[str | None, Field(description="as requested or as served")] = None
    upstream: str | None = None
    endpoint: str | None = None
    outcome: Outcome | None = None
    status: int | None = None

    def filter(self) -> CallFilter:
        """The same for the store."""
        given = self.model_dump(exclude={"limit", "cursor", "since", "until"})
        return CallFilter(**given, from_us=maybe_us(self.since), to_us=maybe_us(self.until))


def maybe_us(moment: datetime | None) -> int | None:
    """The moment in microseconds since the epoch; None stays None."""
    return None if moment is None else epoch_us(moment)


class SpendRequest(Between):
    """How to group what was spent, and over what time."""

    group_by: Annotated[str, Field(description="team, model, user … joined by commas")] = "team"
    window: Annotated[Window | None, Field(description="the current one, in UTC")] = None
    team: str | None = None
    model: str | None = None
    upstream: str | None = None

    @model_validator(mode="after")
    def _one_stretch(self) -> Self:
        if self.window is not None and (self.since is not None or self.until is not None):
            raise ValueError("takes a window, or from and to, not both")
        return self

    def bounds(self, now_us: int) -> tuple[int | None, int | None]:
        """From when and until when, in epoch seconds; without any, the current month."""
        if self.since is not None or self.until is not None:
            since, until = maybe_us(self.since), maybe_us(self.until)
            return (
                None if since is None else since // 1_000_000,
                None if until is None else -(-until // 1_000_000),
            )
        starts_at, _ = window_bounds(self.window or Window.MONTH, "UTC", now_us)
        return starts_at, None
