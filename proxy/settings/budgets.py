"""Budgets as the configuration writes them, and as the rest of the house knows them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator

from proxy.core.budgets import EACH, Budget, OnExceed, Scope, Window
from proxy.core.money import nano_from_usd
from proxy.settings.fields import Expected, Flag, Policy, ScopeName, Text, Timezone, Usd, WindowName


class Section(BaseModel):
    """A piece of the configuration: unknown fields are refused, and nothing changes once read."""

    # A section is checked as a part of the whole: a checker of its own would be built for nothing.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        """``teams:`` with nothing after it is YAML for null: as if the line were not there."""
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if v is not None or k not in cls.model_fields}


class Reserve(Section):
    """Set this much aside on top, for a call whose cost its body can't bound."""

    reserve_usd: Usd


def _kind(value: Any) -> str:
    return "<amount>" if isinstance(value, dict | Reserve) else "<word>"


Unbounded = Annotated[
    Annotated[Policy, Tag("<word>")] | Annotated[Reserve, Tag("<amount>")],
    Discriminator(_kind),
    Expected("reject, allow, or an amount", "{reserve_usd: 0.50}"),
]


class BudgetSettings(Section):
    """A limit in money over a window."""

    limit_usd: Usd
    window: WindowName = "month"
    on_exceed: Literal["block", "warn"] = "block"
    timezone: Timezone = "UTC"
    shrink: Flag = False
    unpriced: Policy | None = None
    unbounded: Unbounded | None = None


class ScopedBudgetSettings(BudgetSettings):
    """A budget that names what it is for: any scope, one subject or each ("*"), perhaps of one team."""

    scope: ScopeName
    subject: Text = EACH
    team: Text = ""

    @model_validator(mode="after")
    def _subject_fits_scope(self) -> Self:
        if not self.subject:
            raise ValueError('has no subject; write a name, or subject: "*" for each its own')
        if self.scope == "tag" and self.subject != EACH and "=" not in self.subject:
            raise ValueError('names no tag; write subject: "name=value", or "*" for each tag')
        return self


@dataclass(frozen=True, slots=True)
class Covers:
    """What a budget is for."""

    scope: str
    subject: str
    team: str = ""


def budget_id(covers: Covers, window: str, on_exceed: str) -> str:
    """``team:search:month``, ``user:*:day:team=search``, ``team:search:day:warn``."""
    parts = [covers.scope, covers.subject, window]
    if covers.team:
        parts.append(f"team={covers.team}")
    if on_exceed == "warn":
        parts.append("warn")
    return ":".join(parts)


def core_budget(
    budget: BudgetSettings, covers: Covers, unpriced: Policy, unbounded: Policy | Reserve
) -> Budget:
    """The budget with its generated id; where it has no policy of its own, the given defaults."""
    unbounded = budget.unbounded or unbounded
    reserve = unbounded if isinstance(unbounded, Reserve) else None
    return Budget(
        id=budget_id(covers, budget.window, budget.on_exceed),
        scope=Scope(covers.scope),
        subject=covers.subject,
        limit_nano=nano_from_usd(budget.limit_usd),
        window=Window(budget.window),
        team=covers.team,
        on_exceed=OnExceed(budget.on_exceed),
        timezone=budget.timezone,
        shrink=budget.shrink,
        unpriced=budget.unpriced or unpriced,
        unbounded="reserve" if isinstance(unbounded, Reserve) else unbounded,
        unbounded_nano=nano_from_usd(reserve.reserve_usd) if reserve else 0,
    )
