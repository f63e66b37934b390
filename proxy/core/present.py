"""Calls as they are shown: to the key that made one, in the admin API, in reports and exports alike.

Times are ISO 8601 in UTC, money is a decimal string in US dollars. ``input_tokens`` is all input,
``cached_tokens`` and ``cache_write_tokens`` among it; ``output_tokens`` is all output,
``reasoning_tokens`` among it.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.core.call import CallRecord
from proxy.core.money import usd
from proxy.core.usage import UsageSource


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call of a client."""

    id: str
    upstream_call_id: str
    started_at: str
    team: str
    organisation: str
    key: str
    user: str
    workflow: str
    run: str
    tags: dict[str, str]
    endpoint: str
    model_requested: str
    model_served: str
    upstream: str
    status: int
    stream: bool
    outcome: str
    refusal: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_source: str
    output_cap: int | None
    output_cap_source: str
    cost_usd: str
    adjusted_usd: str
    held_usd: str
    price_source: str
    price_version: str
    stated_usd: str | None  # what providers stated, where they did, whatever was charged
    list_usd: str | None  # what it costs at the list price, where there is one
    duration_ms: float
    time_to_first_byte_ms: float | None
    overhead_ms: float
    attempts: int


def iso(at_us: int) -> str:
    """A time in microseconds as ISO 8601, to the millisecond."""
    moment = datetime.fromtimestamp(at_us // 1000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_second(at_s: int) -> str:
    """A time in whole seconds as ISO 8601."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def shown(record: CallRecord) -> CallRow:
    """A call's record as it is shown."""
    last, usage = record.last, record.usage
    return CallRow(
        id=record.id,
        upstream_call_id=last.upstream_call_id if last else "",
        started_at=iso(record.started_at_us),
        team=record.team,
        organisation=record.organisation,
        key=record.key,
        user=record.user,
        workflow=record.workflow,
        run=record.run,
        tags=dict(record.tags),
        endpoint=record.endpoint,
        model_requested=record.model_requested,
        model_served=last.model_served if last else "",
        upstream=last.upstream if last else "",
        status=record.status,
        stream=record.stream,
        outcome=record.outcome.value,
        refusal=record.refusal,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning,
        usage_source=(last.usage_source if last else UsageSource.NONE).value,
        output_cap=record.output_cap,
        output_cap_source=record.output_cap_source.value,
        cost_usd=usd(record.cost_nano + record.adjusted_nano),
        adjusted_usd=usd(record.adjusted_nano),
        held_usd=usd(record.held_nano),
        price_source=last.price_source if last else "",
        price_version=last.price_version if last else "",
        stated_usd=maybe_usd(record.stated_nano),
        list_usd=maybe_usd(record.list_nano),
        duration_ms=record.duration_us / 1000,
        time_to_first_byte_ms=milliseconds(record.first_byte_us),
        overhead_ms=record.overhead_us / 1000,
        attempts=len(record.attempts),
    )


def call_row(record: CallRecord) -> dict[str, Any]:
    """The same by field name."""
    return asdict(shown(record))


def maybe_usd(nano: int | None) -> str | None:
    """An amount as it is shown; None stays None."""
    return None if nano is None else usd(nano)


def milliseconds(us: int | None) -> float | None:
    """Microseconds as milliseconds; None stays None."""
    return None if us is None else us / 1000
