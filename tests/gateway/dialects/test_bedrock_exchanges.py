"""Recorded traffic of Bedrock. Skipped where the recordings are not here."""

import base64
import json
import struct
from typing import Any

import pytest

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Patch
from tests.gateway.dialects.chunks import cut_every, relayed
from tests.gateway.dialects.replay import (
    MISSING,
    Exchange,
    address_of,
    answer_of,
    at_dialect,
    facts_of,
    request_of,
    scanner_of,
)

pytestmark = pytest.mark.skipif(MISSING, reason="no recordings here")

METRICS = "amazon-bedrock-invocationMetrics"


def billed(exchange: Exchange) -> tuple[int, int, int, int] | None:
    """Input, read from and written to the cache, output: as AWS counts them, by hand."""
    if exchange["status"] != 200:
        return None
    heads = {name.lower(): value for name, value in (exchange["response_headers"] or {}).items()}
    if "x-amzn-bedrock-input-token-count" in heads:
        return _from_headers(heads)
    found = [usage for _, usage in exchange["usage"] if usage]
    metrics = [usage for usage in found if "outputTokenCount" in usage]
    if metrics:
        last = metrics[-1]
        return (
            last["inputTokenCount"],
            last.get("cacheReadInputTokenCount", 0),
            last.get("cacheWriteInputTokenCount", 0),
            last["outputTokenCount"],
        )
    if exchange["path"].endswith(("/converse", "/converse-stream")):
        last = found[-1]
        return (
            last["inputTokens"],
            last.get("cacheReadInputTokens", 0),
            last.get("cacheWriteInputTokens", 0),
            last["outputTokens"],
        )
    return _from_titan(exchange)


def _from_headers(heads: dict[str, Any]) -> tuple[int, int, int, int]:
    def count(name: str) -> int:
        value = heads.get(f"x-amzn-bedrock-{name}-token-count", 0)
        return int(value[0] if isinstance(value, list) else value)

    return count("input"), count("cache-read-input"), count("cache-write-input"), count("output")


def _from_titan(exchange: Exchange) -> tuple[int, int, int, int] | None:
    """The one model whose streams are without metrics."""
    last = [usage for _, usage in exchange["usage"] if usage][-1]
    return int(last["inputTextTokenCount"]), 0, 0, int(last["totalOutputTextTokenCount"])


def counted(usage: Usage | None) -> tuple[int, int, int, int] | None:
    if usage is None:
        return None
    return usage.input, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens


@pytest.mark.parametrize("size", [1, 37, 65_536])
def test_every_recorded_usage_is_found(size: int) -> None:
    """However the answer is cut, and the client has every byte of it; an error is passed on unread."""
    seen = streams = unfinished = 0
    for exchange, way in at_dialect("bedrock_converse", "bedrock_invoke"):
        body = answer_of(exchange)
        if size == 1 and len(body) > 60_000:
            continue
        facts = facts_of(exchange, way)
        scanner = scanner_of(exchange, way, facts)
        assert relayed(scanner, cut_every(body, size)) == body
        scan = scanner.scan
        expected = billed(exchange)
        assert (exchange["id"], expected) == (exchange["id"], counted(scan.usage))
        if expected is not None:
            unfinished += not scan.finished
            assert set(scan.flags) <= {"usage_inconsistent"}, (exchange["id"], scan.flags)
        seen += expected is not None
        streams += bool(expected and exchange["stream"])
    assert seen > 80
    assert streams > 40
    assert unfinished <= 1  # a recording that has no end


def test_a_stream_cut_anywhere_is_counted() -> None:
    """What had come by then is text to be counted."""
    seen = 0
    for exchange, way in at_dialect("bedrock_converse", "bedrock_invoke"):
        if not exchange["stream"] or exchange["status"] != 200:
            continue
        body = answer_of(exchange)
        scanner = scanner_of(exchange, way, facts_of(exchange, way))
        half = body[: len(body) * 2 // 3]
        assert relayed(scanner, cut_every(half, 500)) == half
        seen += scanner.count_output() > 0
    assert seen > 30


def test_every_recorded_request_is_read_and_can_be_capped() -> None:
    """None is refused; a capped body is the same but for the cap, and is read with it."""
    seen = 0
    for exchange, way in at_dialect("bedrock_converse", "bedrock_invoke"):
        if not isinstance(exchange["request_json"], dict):
            continue
        for separators in ((",", ":"), (", ", ": ")):
            body = request_of(exchange, separators)
            facts = way.dialect.inspect(body, address_of(exchange, way))
            assert facts.stream == bool(exchange["stream"])
            if not facts.makes_text:
                continue
            patch = Patch(output_cap=7, limit_name=facts.output_limit_name)
            patched = way.dialect.patch(body, patch)
            assert way.dialect.inspect(patched, address_of(exchange, way)).output_limit == 7
            assert flat(json.loads(body)) - flat(json.loads(patched)) <= limits(facts.output_limit)
        seen += 1
    assert seen > 100


def flat(value: Any, path: str = "") -> set[tuple[str, str]]:
    """Every member that is no object, by its path."""
    if isinstance(value, dict):
        return {pair for name, inside in value.items() for pair in flat(inside, f"{path}.{name}")}
    return {(path.rpartition(".")[2], json.dumps(value))}


def limits(limit: int | None) -> set[tuple[str, str]]:
    names = ("max_tokens", "maxTokens", "max_new_tokens", "max_gen_len", "maxTokenCount")
    return {
        (name, str(limit)) for name in (*names, "max_tokens_to_sample", "max_completion_tokens")
    }


def test_recorded_frames_are_read_as_the_sdk_reads_them() -> None:
    """Each one's payload, by a reading of the format of its own."""
    seen = 0
    for exchange, way in at_dialect("bedrock_converse"):
        body = answer_of(exchange)
        if exchange.get("response_b64") and exchange["status"] == 200:
            at = 0
            while at < len(body):
                total, headers = struct.unpack_from(">II", body, at)
                assert json.loads(body[at + 12 + headers : at + total - 4])
                at += total
                seen += 1
            assert at == len(body)
            assert base64.b64encode(body).decode() == exchange["response_b64"]
            del way
    assert seen > 200
