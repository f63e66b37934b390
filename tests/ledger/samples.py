"""Calls and budgets for the ledger's tests: one word each where it matters, defaults elsewhere."""

from typing import Any

from msgspec.structs import replace

from proxy.core.budgets import Budget, OnExceed, Scope, Window
from proxy.core.call import (
    AttemptRecord,
    CallRecord,
    Key,
    Outcome,
    Principal,
    Team,
    new_call_id,
)
from proxy.core.pricing import ChargeLine
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.core.usage import Usage, UsageSource

NOON_US = 1_795_348_800_000_000  # 22 November 2026, 12:00 UTC
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def principal(team: str = "search", key: str = "search-prod", **names: Any) -> Principal:
    """A caller."""
    organisation = names.pop("organisation", "acme")
    return Principal(Key(f"k-{key}", key, Team(team, organisation)), **names)


def attempt(number: int = 1, cost_nano: int = 0, **values: Any) -> AttemptRecord:
    """A request that was answered."""
    defaults: dict[str, Any] = {
        "upstream": "openai",
        "model": "gpt-5-mini",
        "started_at_us": NOON_US,
        "duration_us": 250_000,
        "first_byte_us": 90_000,
        "status": 200,
        "model_served": "gpt-5-mini-2026-08-07",
        "upstream_call_id": "chatcmpl-1",
        "usage": Usage(input=900, cached_input=100, output=40, reasoning=60),
        "usage_source": UsageSource.PROVIDER,
        "usage_raw": '{"prompt_tokens":1000,"completion_tokens":100}',
        "charge": (ChargeLine("input", 900, "250"), ChargeLine("output", 40, "2000.5")),
        "price_source": "pricebook",
        "price_version": "2026-11-01",
    }
    return AttemptRecord(number=number, cost_nano=cost_nano, **(defaults | values))


def pending(number: int = 1, **values: Any) -> AttemptRecord:
    """A request that is about to be sent."""
    started = values.pop("started_at_us", NOON_US)
    return AttemptRecord(number, "openai", "gpt-5-mini", started, 0, **values)


def record(caller: Principal | None = None, **values: Any) -> CallRecord:
    """A call's row; under way unless ``attempts`` say otherwise."""
    caller = caller or principal()
    started = values.pop("started_at_us", NOON_US)
    defaults: dict[str, Any] = {
        "id": new_call_id(started * 1000),
        "started_at_us": started,
        "team": caller.key.team.name,
        "organisation": caller.key.team.organisation,
        "key_id": caller.key.id,
        "key": caller.key.name,
        "user": caller.user,
        "workflow": caller.workflow,
        "run": caller.run,
        "tags": caller.tags,
        "endpoint": "chat.completions",
        "model_requested": "gpt-5-mini",
        "stream": False,
        "status": 200,
        "outcome": Outcome.COMPLETED,
        "attempts": (pending(started_at_us=started),),
    }
    return CallRecord(**(defaults | values))


def request(
    amount_nano: int, caller: Principal | None = None, model: str = "gpt-5-mini", **values: Any
) -> HoldRequest:
    """A call that may cost so much."""
    caller = caller or principal()
    asked = {
        name: values.pop(name)
        for name in ("estimate_nano", "unpriced", "unbounded", "exempt")
        if name in values
    }
    return HoldRequest(caller, record(caller, **values), amount_nano, model=model, **asked)


def settlement(asked: HoldRequest, cost_nano: int, hold: Hold | None = None) -> Settlement:
    """The end of that call, at that cost."""
    started = asked.record.started_at_us
    ended = replace(
        asked.record,
        duration_us=300_000,
        attempts=(attempt(cost_nano=cost_nano, started_at_us=started),),
    )
    return Settlement(ended, asked.principal, hold, asked.model)


def refusal(caller: Principal | None = None, **values: Any) -> Settlement:
    """A call that was refused: no hold, no attempt."""
    caller = caller or principal()
    refused = record(
        caller,
        attempts=(),
        status=429,
        outcome=Outcome.REFUSED,
        refusal="budget_exceeded",
        **values,
    )
    return Settlement(refused, caller, None, "gpt-5-mini")


def budget(limit_nano: int, subject: str = "search", **values: Any) -> Budget:
    """A blocking budget of a team, for the month."""
    defaults: dict[str, Any] = {
        "id": f"team:{subject}:month",
        "scope": Scope.TEAM,
        "window": Window.MONTH,
    }
    return Budget(subject=subject, limit_nano=limit_nano, **(defaults | values))


def warning(limit_nano: int, **values: Any) -> Budget:
    """A budget that only warns, for the day."""
    defaults: dict[str, Any] = {
        "id": "team:search:day:warn",
        "window": Window.DAY,
        "on_exceed": OnExceed.WARN,
    }
    return budget(limit_nano, **(defaults | values))
