"""Recorded answers of Anthropic's messages. Skipped where the recordings are absent."""

import statistics
from functools import partial
from pathlib import Path

import orjson
import pytest

from proxy.core.usage import BUCKETS
from proxy.gateway.dialects.anthropic import AnthropicMessages
from proxy.gateway.dialects.base import NOWHERE, Patch
from proxy.store.vocabulary import Vocabulary
from tests.gateway.dialects.chunks import relayed
from tests.gateway.dialects.recorded import (
    Exchange,
    body_of,
    broken_off,
    held_input,
    replayed,
    scanner_of,
    totals,
)
from tests.recorded import exchanges, input_tokens

MESSAGES = AnthropicMessages()


@pytest.fixture(scope="module", name="recorded")
def _recorded() -> list[Exchange]:
    return [
        e
        for e in exchanges()
        if (
            e["path"].endswith("/v1/messages")
            or (e["path"], e["provider"]) == ("/chat", "anthropic")
        )
        and e.get("response_text")
    ]


def expected(exchange: Exchange) -> dict[str, int]:
    """The buckets by the rules, written without a look at the code: last value of each key, then sums."""
    last = {}
    for _, usage in exchange["usage"]:
        last.update({k: v for k, v in usage.items() if v is not None})
    if not last:
        return {}
    asked = orjson.dumps(exchange["request_json"] or {})
    hour_only = b'"ttl":"1h"' in asked and asked.count(b'"ttl":"1h"') == asked.count(b'"ephemeral"')
    entries = last.get("iterations") or [last]
    found = dict.fromkeys(BUCKETS, 0)
    for entry in entries:
        split = entry.get("cache_creation") or {}
        hour = split.get("ephemeral_1h_input_tokens", 0)
        created = entry.get("cache_creation_input_tokens", 0)
        if hour_only:
            hour = created
        found["input"] += entry["input_tokens"]
        found["cached_input"] += entry.get("cache_read_input_tokens", 0)
        found["cache_write"] += created - hour
        found["cache_write_1h"] += hour
        found["output"] += entry["output_tokens"]
    thinking = (last.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    found["output"] -= thinking
    found["reasoning"] = thinking
    found["searches"] = (last.get("server_tool_use") or {}).get("web_search_requests", 0)
    return {bucket: n for bucket, n in found.items() if n}


def test_every_recorded_usage_is_found(recorded: list[Exchange]) -> None:
    """Bucket by bucket, however the answer comes in pieces, and no byte of it changes."""
    seen = 0
    for exchange in recorded:
        for scanner in replayed(MESSAGES, exchange):
            assert (exchange["id"], expected(exchange)) == (
                exchange["id"],
                totals(scanner.scan.usage),
            )
            lacks = (scanner.scan.lacks_input, scanner.scan.lacks_output)
            assert (exchange["id"], lacks) == (exchange["id"], (False, False))
            assert scanner.scan.finished or exchange["status"] != 200, exchange["id"]
        seen += exchange["status"] == 200
    assert seen > 100


def test_parts_add_up_to_the_usage(recorded: list[Exchange]) -> None:
    """Advisors, compactions and models that declined are parts of their own, each with its model."""
    models = set()
    for exchange in recorded:
        scan = scanner_of(MESSAGES, exchange)
        relayed(scan, [exchange["response_text"].encode()])
        if parts := scan.scan.parts:
            whole = {b: sum(getattr(p.usage, b) for p in parts) for b in BUCKETS}
            assert totals(scan.scan.usage) == {b: n for b, n in whole.items() if n}
            models |= {part.model for part in parts}
    assert models >= {"", "claude-opus-4-7", "claude-fable-5", "claude-opus-4-8"}


def test_errors_are_noted(recorded: list[Exchange]) -> None:
    failed = [exchange for exchange in recorded if exchange["status"] != 200]
    assert len(failed) > 1
    for exchange in failed:
        for scanner in replayed(MESSAGES, exchange):
            assert scanner.scan.usage is None
            assert scanner.scan.error in {"authentication_error", "invalid_request_error"}


def test_no_recorded_request_had_more_input_than_is_held_for(recorded: list[Exchange]) -> None:
    """Or it is known as unbounded, with the reason."""
    bounded = 0
    for exchange in recorded:
        if exchange["request_json"] is None:
            continue
        body = body_of(exchange)
        facts = MESSAGES.inspect(body, NOWHERE)
        if facts.unbounded:
            continue
        bound = held_input(body, facts)
        assert input_tokens(exchange) <= bound, (exchange["id"], input_tokens(exchange), bound)
        bounded += 1
    assert bounded > 100


def test_every_recorded_request_can_be_patched(recorded: list[Exchange]) -> None:
    """And is the same but for what was patched."""
    kept = [exchange for exchange in recorded if exchange["request_json"] is not None]
    assert len(kept) > 70
    for exchange in kept:
        body = body_of(exchange)
        after = orjson.loads(MESSAGES.patch(body, Patch(model="other", output_cap=2)))
        before = orjson.loads(body)
        assert (after.pop("model"), after.pop("max_tokens")) == ("other", 2)
        assert after == {k: v for k, v in before.items() if k not in {"model", "max_tokens"}}


def test_a_stream_that_breaks_is_estimated(recorded: list[Exchange], tmp_path: Path) -> None:
    """After each event: the input is exact from the first on, the output near what was billed at the end."""
    vocabulary = Vocabulary(tmp_path)
    ratios = []
    for exchange in recorded:
        if not exchange["stream"] or exchange["status"] != 200:
            continue
        answer = exchange["response_text"].encode()
        billed = expected(exchange)
        counted = 0
        made = partial(scanner_of, MESSAGES, exchange, vocabulary)
        for scanner in broken_off(answer, made, b'"message_delta"'):
            scan = scanner.scan
            assert scan.usage is not None
            assert (scan.lacks_input, scan.lacks_output, scan.finished) == (False, True, False)
            counted = scanner.count_output()
        hidden = b"server_tool_use" in answer or b"thinking" in answer
        if counted and not hidden:
            ratios.append(billed["output"] / counted)
    vocabulary.close()
    ratios.sort()
    print(  # noqa: T201 - the figure of accounting's estimates
        f"\nanthropic: billed/estimated over {len(ratios)} streams: p5 {ratios[len(ratios) // 20]:.2f}"
        f" p50 {statistics.median(ratios):.2f} p95 {ratios[-len(ratios) // 20]:.2f}"
    )
    assert len(ratios) > 40
    assert 0.9 < statistics.median(ratios) < 1.1
