"""Rows of the tables as they are shown, in the words of ``core.present``."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from proxy.core.money import usd
from proxy.core.present import CallRow, iso, maybe_usd, milliseconds


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One line of a charge: ``quantity`` of ``what`` at ``price_usd`` each."""

    what: str
    quantity: int
    price_nano_usd: str  # exact decimal, in nano-dollars
    model: str = ""  # whose price it is, where an answer is billed in parts


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part of an attempt's usage that is billed at a model's own price."""

    model: str  # "": the answer's
    usage: dict[str, int]
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One request that was sent upstream for a call."""

    number: int
    started_at: str
    upstream: str
    model: str
    model_served: str
    upstream_call_id: str
    status: int | None
    duration_ms: float
    time_to_first_byte_ms: float | None
    usage: dict[str, int]  # the buckets that hold anything; no token is in two of them
    usage_source: str
    usage_raw: Any  # the provider's own usage object
    cost_usd: str
    charge: list[ChargeRow]
    price_source: str
    price_version: str
    error: str
    flags: list[str]
    stated_usd: str | None  # what the provider stated, whatever was charged
    list_usd: str | None  # what it costs at the list price, where there is one
    parts: list[PartRow]  # of the usage, where it is billed at several models' prices


@dataclass(frozen=True, slots=True)
class AdjustmentRow:
    """A correction of a call's charge, or of one of its attempts'."""

    id: str
    created_at: str
    attempt: int  # 0: the call as a whole
    amount_usd: str  # what it adds; may be negative
    reason: str
    price_source: str
    price_version: str
    charge: list[ChargeRow]  # the lines of the charge as it is now


@dataclass(frozen=True, slots=True)
class CallDetail(CallRow):
    """One call with everything that was sent upstream for it, and how its charge adds up."""

    attempt_rows: list[AttemptRow]
    adjustments: list[AdjustmentRow]


def call_row(row: RowMapping) -> CallRow:
    """A row of ``calls``, with the sum of its adjustments beside it, as it is shown."""
    return CallRow(
        id=row["id"],
        upstream_call_id=row["upstream_call_id"],
        started_at=iso(row["started_at_us"]),
        team=row["team"],
        organisation=row["organisation"],
        key=row["key"],
        user=row["user"],
        workflow=row["workflow"],
        run=row["run"],
        tags=json.loads(row["tags"] or "{}"),
        endpoint=row["endpoint"],
        model_requested=row["model_requested"],
        model_served=row["model_served"],
        upstream=row["upstream"],
        status=row["status"],
        stream=bool(row["stream"]),
        outcome=row["outcome"],
        refusal=row["refusal"],
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        usage_source=row["usage_source"],
        output_cap=row["output_cap"],
        output_cap_source=row["output_cap_source"],
        cost_usd=usd(row["cost_nano"] + row["adjusted_nano"]),
        adjusted_usd=usd(row["adjusted_nano"]),
        held_usd=usd(row["held_nano"]),
        price_source=row["price_source"],
        price_version=row["price_version"],
        stated_usd=maybe_usd(row["stated_nano"]),
        list_usd=maybe_usd(row["list_nano"]),
        duration_ms=row["duration_us"] / 1000,
        time_to_first_byte_ms=milliseconds(row["first_byte_us"]),
        overhead_ms=row["overhead_us"] / 1000,
        attempts=row["attempts"],
    )


def attempt_row(row: RowMapping) -> AttemptRow:
    """A row of ``attempts`` as it is shown."""
    return AttemptRow(
        number=row["number"],
        started_at=iso(row["started_at_us"]),
        upstream=row["upstream"],
        model=row["model"],
        model_served=row["model_served"],
        upstream_call_id=row["upstream_call_id"],
        status=row["status"],
        duration_ms=row["duration_us"] / 1000,
        time_to_first_byte_ms=milliseconds(row["first_byte_us"]),
        usage=json.loads(row["usage"] or "{}"),
        usage_source=row["usage_source"],
        usage_raw=json.loads(row["usage_raw"] or "null"),
        cost_usd=usd(row["cost_nano"]),
        charge=[ChargeRow(*line) for line in json.loads(row["charge"] or "[]")],
        price_source=row["price_source"],
        price_version=row["price_version"],
        error=row["error"],
        flags=[flag for flag in row["flags"].split(",") if flag],
        stated_usd=maybe_usd(row["stated_nano"]),
        list_usd=maybe_usd(row["list_nano"]),
        parts=[PartRow(**part) for part in json.loads(row["parts"] or "[]")],
    )


def adjustment_row(row: RowMapping) -> AdjustmentRow:
    """A row of ``adjustments`` as it is shown."""
    return AdjustmentRow(
        id=row["id"],
        created_at=iso(row["created_at_us"]),
        attempt=row["attempt"],
        amount_usd=usd(row["amount_nano"]),
        reason=row["reason"],
        price_source=row["price_source"],
        price_version=row["price_version"],
        charge=[ChargeRow(*line) for line in json.loads(row["charge"] or "[]")],
    )
