"""Calls as the data path tells of them, for tests of what becomes of them."""

from typing import Any

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallFinished, CallRecord, CapSource, Outcome
from proxy.core.pricing import ChargeLine
from proxy.core.usage import Usage, UsageSource

STARTED_US = 1_795_000_000_000_000  # 2026-11-18T10:26:40Z

ATTEMPT = AttemptRecord(
    number=1,
    upstream="openai",
    model="gpt-5-mini",
    started_at_us=STARTED_US + 300,
    duration_us=2_000_000,
    first_byte_us=450_000,
    status=200,
    model_served="gpt-5-mini-2026-08-07",
    upstream_call_id="chatcmpl-1",
    usage=Usage(input=1000, cached_input=200, cache_write=34, output=70, reasoning=30),
    usage_source=UsageSource.PROVIDER,
    usage_raw='{"prompt_tokens":1234}',
    cost_nano=1_234_567,
    charge=(ChargeLine("input", 1000, "250"), ChargeLine("output", 70, "2000")),
    price_source="pricebook",
    price_version="v1",
)
RECORD = CallRecord(
    id="fb-019a0000000100000000000000000001",
    started_at_us=STARTED_US,
    team="search",
    organisation="acme",
    key_id="key_1",
    key="search-prod",
    user="alice",
    workflow="nightly",
    run="run-7",
    tags=(("env", "prod"),),
    endpoint="chat.completions",
    model_requested="gpt-5-mini",
    stream=True,
    status=200,
    outcome=Outcome.COMPLETED,
    output_cap=1000,
    output_cap_source=CapSource.TEAM,
    duration_us=2_000_500,
    first_byte_us=450_300,
    overhead_us=300,
    held_nano=9_000_000,
    attempts=(ATTEMPT,),
)
REFUSED = replace(
    RECORD,
    status=429,
    outcome=Outcome.REFUSED,
    refusal="budget_exceeded",
    output_cap_source=CapSource.CLIENT,
    attempts=(),
)


def finished(attempt: dict[str, Any] | None = None, **record: Any) -> CallFinished:
    """A call that ended, with some fields of it, or of its attempt, changed."""
    if attempt is not None:
        record["attempts"] = (replace(ATTEMPT, **attempt),)
    return CallFinished(replace(RECORD, **record))
