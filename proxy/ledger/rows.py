"""Records as rows of the tables, and back. Tuples in the order of the columns: the hot path's form."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import json
from msgspec.structs import astuple

from proxy.core.call import AttemptRecord, CallRecord, CapSource, Outcome, Totals
from proxy.core.pricing import ChargeLine
from proxy.core.usage import EMPTY, Usage, UsagePart, UsageSource
from proxy.store.schema import attempts, calls, rollups, rollups_by_principal

Row = tuple[Any, ...]
Fields = Mapping[str, Any] | Any

CALL_COLUMNS = tuple(c.name for c in calls.columns)
ATTEMPT_COLUMNS = tuple(c.name for c in attempts.columns)
ROLLUP_KEY = tuple(c.name for c in rollups.primary_key)
ROLLUP_COUNTS = tuple(c.name for c in rollups.columns if not c.primary_key)
PRINCIPAL_KEY = tuple(c.name for c in rollups_by_principal.primary_key)
PRINCIPAL_COUNTS = tuple(c.name for c in rollups_by_principal.columns if not c.primary_key)

_json = json.Encoder().encode
_usage = json.Decoder(Usage).decode
_charge = json.Decoder(tuple[ChargeLine, ...]).decode
_parts = json.Decoder(tuple[UsagePart, ...]).decode
_tags = json.Decoder(dict[str, str]).decode

_NO_ATTEMPT = AttemptRecord(0, "", "", 0, 0)
_HOUR_US = 3_600_000_000
_DAY_US = 86_400_000_000
_ERROR = 400  # from here a status is an error


def call_row(record: CallRecord, model: str, sums: Totals) -> Row:
    """A row of ``calls``."""
    last = record.attempts[-1] if record.attempts else _NO_ATTEMPT
    cap_source, outcome, source = record.output_cap_source, record.outcome, last.usage_source
    (*named, tags, endpoint, model_requested, stream, status) = astuple(record)[:14]
    return (
        *named,
        _json(dict(tags)).decode() if tags else "",
        endpoint,
        model,
        model_requested,
        last.model_served,
        last.upstream,
        last.upstream_call_id,
        stream,
        status,
        outcome._value_,
        record.refusal,
        source._value_,
        *sums[:5],
        record.output_cap,
        cap_source._value_,
        sums.cost_nano,
        record.held_nano,
        last.price_source,
        last.price_version,
        record.duration_us,
        record.first_byte_us,
        record.overhead_us,
        len(record.attempts),
        sums.stated_nano,
        sums.list_nano,
    )


def attempt_row(call: CallRecord, attempt: AttemptRecord) -> Row:
    """A row of ``attempts``."""
    usage = attempt.usage
    return (
        call.id,
        attempt.number,
        attempt.started_at_us,
        call.team,
        attempt.upstream,
        attempt.model,
        attempt.model_served,
        attempt.upstream_call_id,
        attempt.status,
        attempt.duration_us,
        attempt.first_byte_us,
        _json(usage).decode() if usage is not EMPTY else "",
        attempt.usage_source._value_,
        attempt.usage_raw,
        attempt.cost_nano,
        _json(attempt.charge).decode() if attempt.charge else "",
        attempt.price_source,
        attempt.price_version,
        attempt.error,
        ",".join(attempt.flags) if attempt.flags else "",
        attempt.stated_nano,
        attempt.list_nano,
        _json(attempt.parts).decode() if attempt.parts else "",
    )


# Rollups


def hour_of(at_us: int) -> int:
    """The hour that a rollup counts a call in, as epoch seconds."""
    return (at_us - at_us % _HOUR_US) // 1_000_000


def day_of(at_us: int) -> int:
    """The same for its day."""
    return (at_us - at_us % _DAY_US) // 1_000_000


def rollup_key(record: CallRecord) -> Row:
    """Which row of ``rollups`` counts the call."""
    last = record.attempts[-1] if record.attempts else _NO_ATTEMPT
    return (
        hour_of(record.started_at_us),
        record.team,
        record.organisation,
        last.model_served or record.model_requested,
        last.upstream,
        record.endpoint,
        record.outcome._value_,
    )


def rollup_counts(record: CallRecord, sums: Totals) -> Row:
    """What the call adds to it."""
    unpriced = 0
    for attempt in record.attempts:
        if attempt.price_source == "unpriced":
            unpriced = 1
    return (1, int(record.status >= _ERROR), unpriced, *sums[:6], record.duration_us)


def principal_key(record: CallRecord) -> Row:
    """Which row of ``rollups_by_principal`` counts the call."""
    return (day_of(record.started_at_us), record.team, record.key, record.user, record.workflow)


def principal_counts(sums: Totals) -> Row:
    """What the call adds to it."""
    return (1, sums.input_tokens, sums.output_tokens, sums.cost_nano)


# And back


def record_from(call: Fields, tries: Sequence[Fields]) -> CallRecord:
    """The record that these rows (by column name) were written from."""
    return CallRecord(
        id=call["id"],
        started_at_us=call["started_at_us"],
        team=call["team"],
        organisation=call["organisation"],
        key_id=call["key_id"],
        key=call["key"],
        user=call["user"],
        workflow=call["workflow"],
        run=call["run"],
        tags=tags_from(call["tags"]),
        endpoint=call["endpoint"],
        model_requested=call["model_requested"],
        stream=bool(call["stream"]),
        status=call["status"],
        outcome=Outcome(call["outcome"]),
        output_cap=call["output_cap"],
        output_cap_source=CapSource(call["output_cap_source"] or CapSource.NONE),
        duration_us=call["duration_us"],
        first_byte_us=call["first_byte_us"],
        overhead_us=call["overhead_us"],
        refusal=call["refusal"],
        held_nano=call["held_nano"],
        attempts=tuple(_attempt_from(row) for row in sorted(tries, key=lambda r: r["number"])),
    )


def tags_from(text: str) -> tuple[tuple[str, str], ...]:
    """The tags of a row."""
    return tuple(_tags(text).items()) if text else ()


def _attempt_from(row: Fields) -> AttemptRecord:
    usage, charge, flags, parts = row["usage"], row["charge"], row["flags"], row["parts"]
    return AttemptRecord(
        number=row["number"],
        upstream=row["upstream"],
        model=row["model"],
        started_at_us=row["started_at_us"],
        duration_us=row["duration_us"],
        first_byte_us=row["first_byte_us"],
        status=row["status"],
        model_served=row["model_served"],
        upstream_call_id=row["upstream_call_id"],
        usage=_usage(usage) if usage else EMPTY,
        usage_source=UsageSource(row["usage_source"]),
        usage_raw=row["usage_raw"],
        cost_nano=row["cost_nano"],
        charge=_charge(charge) if charge else (),
        price_source=row["price_source"],
        price_version=row["price_version"],
        error=row["error"],
        flags=tuple(flags.split(",")) if flags else (),
        stated_nano=row["stated_nano"],
        list_nano=row["list_nano"],
        parts=_parts(parts) if parts else (),
    )
