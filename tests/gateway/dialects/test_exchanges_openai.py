"""Recorded answers of OpenAI's other endpoints, and of providers that have them too.

What is expected is worked out here, from the raw usage objects alone.
"""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from proxy.core.errors import InvalidRequest
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import (
    Address,
    Dialect,
    RequestFacts,
    Scanner,
    Watch,
    comes_in_events,
)
from proxy.gateway.paths import find_way
from tests import recorded
from tests.gateway.dialects.chunks import cut_every, pretokens, relayed

_SUFFIXES = ("/responses", "/completions", "/embeddings")


def exchanges() -> Iterator[tuple[dict[str, Any], Dialect, str]]:
    """Each recorded exchange of these endpoints, with its dialect and endpoint."""
    for exchange in recorded.exchanges():
        path = exchange["path"]
        end = next((s for s in _SUFFIXES if path.endswith(s)), None)
        if exchange["method"] == "POST" and end and not path.endswith("chat/completions"):
            way = find_way("POST", b"/v1" + end.encode(), {})
            assert way is not None
            yield exchange, way.dialect, way.endpoint


def facts_of(exchange: dict[str, Any], dialect: Dialect) -> RequestFacts | None:
    found = recorded.request_document(exchange)
    if found is None:
        return None
    document = {"model": "named-by-the-path", **found[0]}
    return dialect.inspect(orjson.dumps(document), Address(b""))


def content_type(exchange: dict[str, Any]) -> str:
    return str(exchange["content_type"] or "").partition(";")[0].strip().lower()


def scanner_of(exchange: dict[str, Any], dialect: Dialect, facts: RequestFacts) -> Scanner:
    watch = Watch(
        streamed=comes_in_events(content_type(exchange)),
        strip_usage=False,
        output_cap=None,
        count=pretokens,
    )
    return dialect.scanner(facts, watch)


def expected(exchange: dict[str, Any]) -> tuple[int, int, int, int, int] | None:
    """Input, cached, written, output, reasoning: of the last usage that says anything."""
    found = [
        usage
        for _, usage in exchange["usage"]
        if isinstance(usage, dict) and any(isinstance(v, int) and v > 0 for v in usage.values())
    ]
    if not found:
        return None
    raw: dict[str, Any] = found[-1]
    total = raw.get("total_tokens", 0)
    of_input = raw.get("input_tokens_details") or raw.get("prompt_tokens_details") or {}
    of_output = raw.get("output_tokens_details") or raw.get("completion_tokens_details") or {}
    written = of_input.get("cache_write_tokens", 0)
    put_out = raw.get("output_tokens") or raw.get("completion_tokens") or 0
    put_in = raw.get("input_tokens", raw.get("prompt_tokens", total - put_out))
    return (
        put_in,
        of_input.get("cached_tokens", 0),
        written,
        put_out,
        of_output.get("reasoning_tokens", 0),
    )


def totals(usage: Usage | None) -> tuple[int, int, int, int, int] | None:
    if usage is None:
        return None
    return (
        usage.input_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning,
    )


@pytest.mark.parametrize("size", [7, 4096, 1 << 20])
def test_every_recorded_usage_is_found(size: int) -> None:
    """In its buckets, of every provider, streamed or not; and the bytes stay as they are."""
    seen = dict.fromkeys(["responses", "completions", "embeddings"], 0)
    for exchange, dialect, endpoint in exchanges():
        text = exchange.get("response_text")
        facts = facts_of(exchange, dialect)
        if exchange["status"] != 200 or not text or facts is None:
            continue
        scanner = scanner_of(exchange, dialect, facts)
        body = text.encode()
        assert body == relayed(scanner, cut_every(body, size))
        found = (exchange["id"], totals(scanner.scan.usage))
        assert (exchange["id"], expected(exchange)) == found
        assert scanner.scan.finished or "[DONE]" not in text, exchange["id"]
        seen[endpoint] += scanner.scan.usage is not None
    assert seen["responses"] > 300
    assert seen["completions"] > 30
    assert seen["embeddings"] > 50


def test_every_recorded_error_passes_and_costs_nothing() -> None:
    seen = 0
    for exchange, dialect, _ in exchanges():
        if exchange["status"] < 400:
            continue
        facts = facts_of(exchange, dialect) or RequestFacts(model="m")
        watch = Watch(
            streamed=False,
            strip_usage=False,
            output_cap=9,
            count=pretokens,
            status=exchange["status"],
        )
        scanner = dialect.scanner(facts, watch)
        body = exchange["response_text"].encode()
        assert body == relayed(scanner, cut_every(body, 100))
        assert scanner.scan.usage is None
        assert scanner.scan.error
        seen += 1
    assert seen > 10


def test_every_recorded_request_is_read() -> None:
    """None is refused."""
    seen = 0
    for exchange, dialect, _ in exchanges():
        try:
            facts = facts_of(exchange, dialect)
        except InvalidRequest as refused:
            pytest.fail(f"{exchange['id']}: {refused.message}")
        if facts is not None:
            dialect.prompt_text(facts)
            seen += 1
    assert seen > 400


def test_a_stated_cost_is_read() -> None:
    """XAI's ticks are ten to a nano-dollar; OpenRouter's dollars are decimal."""
    seen = 0
    for exchange, dialect, _ in exchanges():
        facts = facts_of(exchange, dialect)
        raw = exchange["usage"][-1][1] if exchange["usage"] else None
        if exchange["status"] != 200 or not isinstance(raw, dict) or facts is None:
            continue
        ticks = raw.get("cost_in_usd_ticks") or round((raw.get("cost") or 0) * 10**10)
        if not ticks:
            continue
        scanner = scanner_of(exchange, dialect, facts)
        relayed(scanner, [exchange["response_text"].encode()])
        assert scanner.scan.stated_nano == round(ticks / 10), exchange["id"]
        seen += 1
    assert seen > 20
