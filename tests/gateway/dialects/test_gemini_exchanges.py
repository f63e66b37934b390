"""Recorded traffic of Gemini, at AI Studio and at Vertex. Skipped where the recordings are not here."""

import json

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

GENERATING = ("gemini", "gemini_embedding")


def billed(exchange: Exchange) -> dict[str, int] | None:
    """What is billed of the last usage that was reported: the rules of Google's price list, by hand."""
    found = [usage for _, usage in exchange["usage"] if usage]
    if not found or exchange["status"] != 200:
        return None
    last = found[-1]
    if "total_tokens" in last:
        return {
            "input": last["total_input_tokens"] + last["total_tool_use_tokens"],
            "cached": last["total_cached_tokens"],
            "output": last["total_output_tokens"] + last["total_thought_tokens"],
            "reasoning": last["total_thought_tokens"],
        }
    thoughts = last.get("thoughtsTokenCount", 0)
    said = last.get("candidatesTokenCount", 0) + thoughts
    given = last.get("promptTokenCount", 0) + last.get("toolUsePromptTokenCount", 0)
    return {
        "input": given,
        "cached": last.get("cachedContentTokenCount", 0),
        "output": last["totalTokenCount"] - given if "totalTokenCount" in last else said,
        "reasoning": thoughts,
    }


def counted(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {
        "input": usage.input_tokens,
        "cached": usage.cached_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.reasoning,
    }


@pytest.mark.parametrize("size", [1, 37, 65_536])
def test_every_recorded_usage_is_found(size: int) -> None:
    """However the answer is cut, and the client has every byte of it; an error is passed on unread."""
    seen = streams = 0
    for exchange, way in at_dialect(*GENERATING, "gemini_interactions"):
        body = answer_of(exchange)
        if size == 1 and len(body) > 60_000:
            continue
        scanner = scanner_of(exchange, way, facts_of(exchange, way))
        assert relayed(scanner, cut_every(body, size)) == body
        scan = scanner.scan
        expected = billed(exchange)
        assert (exchange["id"], expected) == (exchange["id"], counted(scan.usage))
        if expected is not None:
            assert scan.finished, exchange["id"]
            assert not scan.flags, (exchange["id"], scan.flags)
            assert bool(scan.served_model) == (
                b'"modelVersion"' in body or way.endpoint == "interactions"
            )
        seen += expected is not None
        streams += bool(expected and exchange["stream"])
    assert seen > 100
    assert streams > 30


def test_every_recorded_modality_is_kept_apart() -> None:
    """Audio and images of the prompt are in buckets of their own."""
    seen = 0
    for exchange, way in at_dialect(*GENERATING):
        usages = [usage for _, usage in exchange["usage"] if usage]
        if exchange["status"] != 200 or not usages:
            continue
        details = usages[-1].get("promptTokensDetails") or []
        of = {d.get("modality"): d.get("tokenCount", 0) for d in details}
        scanner = scanner_of(exchange, way, facts_of(exchange, way))
        relayed(scanner, [answer_of(exchange)])
        usage = scanner.scan.usage
        assert usage is not None
        assert of.get("AUDIO", 0) == usage.audio_input + usage.cached_audio_input
        assert of.get("IMAGE", of.get(2, 0)) == usage.image_input + usage.cached_image_input
        seen += any(kind in of for kind in ("AUDIO", "IMAGE"))
    assert seen > 5


def test_every_recorded_request_is_read_and_can_be_capped() -> None:
    """None is refused; a capped body is the same but for the cap."""
    seen = 0
    for exchange, way in at_dialect("gemini", "gemini_interactions"):
        if exchange["request_json"] is None:
            continue
        for separators in ((",", ":"), (", ", ": ")):
            body = request_of(exchange, separators)
            facts = way.dialect.inspect(body, address_of(exchange, way))
            assert facts.model
            assert facts.stream == bool(exchange["stream"])
            after = json.loads(way.dialect.patch(body, Patch(output_cap=7)))
            again = way.dialect.inspect(json.dumps(after).encode(), address_of(exchange, way))
            assert again.output_limit == 7
            for document in (after, before := json.loads(body)):
                for name in ("generationConfig", "generation_config"):
                    if isinstance(config := document.get(name), dict):
                        config.pop("maxOutputTokens", None)
                        config.pop("max_output_tokens", None)
                        if not config:
                            del document[name]
            assert before == after
        seen += 1
    assert seen > 150
