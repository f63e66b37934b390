"""What the admin API takes and gives, where it is not a row of the store as it is."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)

from proxy.admin.queries import maybe_us
from proxy.core.budgets import OnExceed, Scope, Window
from proxy.core.money import usd
from proxy.core.present import iso, iso_second
from proxy.ledger.base import BudgetView, WindowView
from proxy.settings import Reserve
from proxy.store.clock import epoch_us, now_us
from proxy.store.key_rows import KeyRequest, NewKey, StoredKey

_KEY_NAME = re.compile(r"[^\s/,-][^\s/,]{0,99}")
Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items, and the ``cursor`` to ask for the next ones with; null where there are none."""

    items: Sequence[Item]
    next_cursor: str | None = None


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
    return [_budget_row(view, window) for window in view.shown(now_us())]


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
        if moment is not None and epoch_us(moment) <= now_us():
            raise ValueError("is in the past: the key would never work")
        return moment

    @property
    def expires_at_us(self) -> int | None:
        """The expiry as the store has it."""
        return maybe_us(self.expires_at)

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
