"""What the admin API takes and gives, where it is not a row of the store as it is."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from proxy.core.budgets import Budget, OnExceed, Scope, Window, window_bounds
from proxy.core.call import Outcome
from proxy.core.money import usd
from proxy.core.present import iso, iso_second
from proxy.ledger.base import BudgetView, WindowView
from proxy.settings import Reserve
from proxy.store.call_filter import CallFilter
from proxy.store.key_rows import KeyRequest, NewKey, StoredKey
from proxy.store.keys import now_us

MOST = 1000
_KEY_NAME = re.compile(r"[^\s/,-][^\s/,]{0,99}")
Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items, and the ``cursor`` to ask for the next ones with; null where there are none."""

    items: Sequence[Item]
    next_cursor: str | None = None


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
        return CallFilter(**given, from_us=_us(self.since), to_us=_us(self.until))


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1_000_000)


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
            since, until = _us(self.since), _us(self.until)
            return (
                None if since is None else since // 1_000_000,
                None if until is None else -(-until // 1_000_000),
            )
        starts_at, _ = window_bounds(self.window or Window.MONTH, "UTC", now_us)
        return starts_at, None


class BudgetBody(BaseModel):
    """A budget to be made, or changed: what names it (``id``, or scope and subject), and what it shall be."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    scope: Scope | None = None
    subject: str | None = None
    team: str | None = None
    window: Window | None = None
    limit_usd: Annotated[
        str | float | int | None, Field(description="a decimal string is exact")
    ] = None
    on_exceed: OnExceed | None = None
    timezone: str | None = None
    shrink: bool | None = None
    unpriced: Literal["reject", "allow"] | None = None
    unbounded: Literal["reject", "allow"] | Reserve | None = None


class BudgetRow(BaseModel):
    """A budget and its current window: one row for each subject of a budget on "*"."""

    id: str
    scope: Scope
    subject: str
    team: str
    window: Window
    limit_usd: str
    spent_usd: str
    held_usd: str
    overdraft_usd: str
    available_usd: str
    starts_at: str
    resets_at: str | None
    on_exceed: OnExceed
    timezone: str
    shrink: bool
    unpriced: str
    unbounded: str
    origin: str


def budget_rows(view: BudgetView) -> list[BudgetRow]:
    """A budget's windows as they are shown; one for everybody that nobody used yet shows its limit."""
    return [_budget_row(view, window) for window in view.windows or (_unused(view.budget),)]


def _unused(budget: Budget) -> WindowView:
    starts_at, resets_at = window_bounds(budget.window, budget.timezone, now_us())
    return WindowView(budget.subject, starts_at, resets_at)


def _budget_row(view: BudgetView, window: WindowView) -> BudgetRow:
    budget = view.budget
    return BudgetRow(
        id=budget.id,
        scope=budget.scope,
        subject=window.subject,
        team=window.subject if budget.scope is Scope.TEAM else budget.team,
        window=budget.window,
        limit_usd=usd(budget.limit_nano),
        spent_usd=usd(window.spent_nano),
        held_usd=usd(window.held_nano),
        overdraft_usd=usd(window.overdraft_nano),
        available_usd=usd(budget.limit_nano - window.spent_nano - window.held_nano),
        starts_at=iso_second(window.starts_at),
        resets_at=None if window.resets_at is None else iso_second(window.resets_at),
        on_exceed=budget.on_exceed,
        timezone=budget.timezone,
        shrink=budget.shrink,
        unpriced=budget.unpriced,
        unbounded=_unbounded_text(budget.unbounded, budget.unbounded_nano),
        origin=view.origin,
    )


def _unbounded_text(policy: str, nano: int) -> str:
    return f"reserve ${usd(nano)}" if policy == "reserve" else policy


class KeyBody(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str
    team: str
    models: Annotated[list[str], Field(min_length=1, description="globs over model names")] = ["*"]
    max_output_tokens: Annotated[int | None, Field(ge=1)] = None
    expires_at: AwareDatetime | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        # It stands in addresses and on command lines.
        if not _KEY_NAME.fullmatch(name):
            raise ValueError(
                "must be up to 100 characters without blanks, slashes and commas, and begin with no dash"
            )
        return name

    @field_validator("expires_at")
    @classmethod
    def _is_to_come(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.timestamp() * 1_000_000 <= now_us():
            raise ValueError("is in the past: the key would never work")
        return moment

    @property
    def expires_at_us(self) -> int | None:
        """The expiry as the store has it."""
        return _us(self.expires_at)

    def request(self) -> KeyRequest:
        """The same for the store."""
        return KeyRequest(
            self.name, self.team, tuple(self.models), self.max_output_tokens, self.expires_at_us
        )


class RotateBody(BaseModel):
    """How a key is rotated."""

    model_config = ConfigDict(extra="forbid")

    grace_s: Annotated[float, Field(ge=0, le=30 * 86_400, description="seconds, up to 30 days")] = 0


class KeyRow(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    team: str
    prefix: str
    state: Literal["active", "expired", "revoked"]
    origin: str
    models: Sequence[str]
    max_output_tokens: int | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKeyRow(KeyRow):
    """A key that was just made, with its secret: shown now and never again."""

    secret: str


def key_row(key: StoredKey, at_us: int) -> KeyRow:
    """A key as it is shown."""
    return KeyRow.model_validate(_key_fields(key, at_us))


def new_key_row(new: NewKey, at_us: int) -> NewKeyRow:
    """A new key as it is shown, once."""
    return NewKeyRow.model_validate({**_key_fields(new.stored, at_us), "secret": new.secret})


def _key_fields(key: StoredKey, at_us: int) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in ("id", "name", "team", "prefix", "origin")},
        "state": key.state(at_us),
        "models": key.models,
        "max_output_tokens": key.max_output_tokens,
        "created_at": iso(key.created_at_us),
        "expires_at": _iso(key.expires_at_us),
        "revoked_at": _iso(key.revoked_at_us),
    }


def _iso(at_us: int | None) -> str | None:
    return None if at_us is None else iso(at_us)


class TeamRow(BaseModel):
    """A team of the configuration, and what it spent in the current month (UTC)."""

    name: str
    organisation: str
    models: Sequence[str]
    max_output_tokens: int | None
    max_input_tokens: int | None
    on_over_cap: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budgets: Sequence[str]
    calls: int
    spent_usd: str
