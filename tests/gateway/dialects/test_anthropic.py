"""Anthropic's messages: what is read of a request, and how it is patched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core.errors import (
    BudgetExceeded,
    InvalidApiKey,
    InvalidRequest,
    LedgerUnavailable,
    ModelNotAllowed,
    ModelNotFound,
    RateLimitExceeded,
    Refusal,
    RequestTooLarge,
    UpstreamUnreachable,
)
from proxy.gateway.dialects.anthropic import AnthropicMessages
from proxy.gateway.dialects.base import NOWHERE, Address, Patch, RequestFacts
from tests.gateway.dialects.chunks import compact

MESSAGES = AnthropicMessages()
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def body(**changes: Any) -> bytes:
    document = {
        "model": "claude-opus-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    return compact({k: v for k, v in (document | changes).items() if v is not ...})


def facts(**changes: Any) -> RequestFacts:
    return MESSAGES.inspect(body(**changes), NOWHERE)


def saying(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def test_all_that_is_read() -> None:
    read = facts(
        stream=True,
        service_tier="auto",
        speed="fast",
        inference_geo="us",
        metadata={"user_id": "ann"},
        tools=[{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g"}],
    )
    expected = RequestFacts(
        model="claude-opus-5",
        stream=True,
        output_limit=100,
        output_limit_name="max_tokens",
        service_tier="auto",
        variants=("fast", "us"),
        user="ann",
        has_tools=True,
    )

    assert expected == replace(read, document={})


def test_a_model_in_the_path_counts() -> None:
    """As at Vertex and Bedrock, where the body names none."""
    assert MESSAGES.inspect(body(model=...), Address(b"/x", model="m")).model == "m"


def test_the_cache_can_be_warmed_without_an_answer() -> None:
    assert facts(max_tokens=0).output_limit == 0


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": 5}, "model"),
        ({"messages": ...}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "1"}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"tools": {}}, "tools"),
        ({"metadata": "x"}, "metadata"),
        ({"Max_Tokens": 5}, "max_tokens"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        facts(**changes)

    assert refused.value.param == param


def test_a_limit_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="given twice"):
        MESSAGES.inspect(body()[:-1] + b',"max_tokens":5}', NOWHERE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "server tool web_search_20260318"),
        ({"tools": [{"type": "code_execution_20260521", "name": "x"}]}, "server tool code_execution_20260521"),
        ({"tools": [{"type": "advisor_20260301", "name": "x"}]}, "server tool advisor_20260301"),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management compact_20260112"),
        ({"messages": saying({"type": "image", "source": {"type": "url", "url": "https://x"}})}, "image by url"),
        ({"messages": saying({"type": "document", "source": {"type": "file", "file_id": "f"}})}, "document by file"),
        ({"messages": saying({"type": "document", "source": PNG})}, "document by base64"),
        ({"messages": saying({"type": "container_upload", "file_id": "f"})}, "container_upload"),
        ({"messages": saying({"type": "tool_result", "content": [{"type": "image", "source": {"type": "file"}}]})}, "image by file"),
        ({"system": [{"type": "novelty"}]}, "novelty"),
    ],
)  # fmt: skip
def test_what_no_body_bounds_has_a_reason(changes: dict[str, Any], why: str) -> None:
    assert facts(**changes).unbounded == (why,)


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": []},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"mcp_servers": []},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"messages": saying({"type": "image", "source": PNG})},
        {"messages": saying({"type": "document", "source": {"type": "text", "data": "x"}})},
        {"messages": saying({"type": "tool_result", "content": [{"type": "text", "text": "x"}]})},
        {"system": "be brief"},
    ],
)
def test_what_is_bounded_has_none(changes: dict[str, Any]) -> None:
    assert facts(**changes).unbounded == ()


def test_pictures_and_prompts_of_tools_are_held_for() -> None:
    """Their tokens are not in the bytes; other servers' models make more of a picture."""
    picture = {"type": "image", "source": PNG}
    nested = {"type": "tool_result", "content": [picture]}

    assert facts(messages=saying(picture, nested)).more_input == 2 * 5_000
    assert facts(model="qwen3-vl", messages=saying(picture)).more_input == 16_384
    assert facts(tools=[{"type": "computer_20251124", "name": "c"}]).more_input == 2_000


def test_all_text_of_a_prompt_is_counted() -> None:
    read = facts(
        system=[{"type": "text", "text": "system", "cache_control": {"type": "ephemeral"}}],
        tools=[{"name": "tool", "description": "described", "input_schema": {"type": "object"}}],
        messages=[
            {"role": "user", "content": "plain"},
            *saying(
                {"type": "text", "text": "block"},
                {"type": "tool_use", "id": "t", "name": "called", "input": {"q": "argument"}},
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "result"}]},
                {"type": "document", "title": "title", "source": {"type": "text", "data": "data"}},
                {"type": "image", "source": PNG},
            ),
        ],
    )  # fmt: skip
    text = MESSAGES.prompt_text(read)

    for said in ("system", "tool", "described", "plain", "block", "called", "argument", "result", "title", "data"):  # fmt: skip
        assert said in text
    assert "iVBOR" not in text
    assert "ephemeral" not in text


# Patching


def test_nothing_to_change_is_the_same_body() -> None:
    said = body()

    assert MESSAGES.patch(said, Patch()) is said
    assert MESSAGES.patch(said, Patch(model="claude-opus-5", output_cap=100)) is said


def test_the_limit_is_lowered_and_all_else_stays() -> None:
    said = b'{ "max_tokens" : 4096,\n "model":"a", "messages":[], "x": 1.50 }'
    patched = b'{ "max_tokens" : 50,\n "model":"b", "messages":[], "x": 1.50 }'

    assert patched == MESSAGES.patch(said, Patch(model="b", output_cap=50))


def test_a_missing_limit_is_added() -> None:
    assert json.loads(MESSAGES.patch(body(max_tokens=...), Patch(output_cap=7)))["max_tokens"] == 7


@pytest.mark.parametrize(
    ("limit", "budget", "cap", "lowered"),
    [
        (32_000, 31_999, 8_192, 4_096),
        (32_000, 31_999, 1_500, 1_024),
        (32_000, 2_000, 8_192, 2_000),
        (32_000, 31_999, 1_000, 31_999),  # no budget fits: the upstream says so
        (8_000, 20_000, 4_000, 20_000),  # interleaved
    ],
)
def test_thinking_fits_below_a_lowered_limit(
    limit: int, budget: int, cap: int, lowered: int
) -> None:
    said = body(max_tokens=limit, thinking={"type": "enabled", "budget_tokens": budget})
    patched = json.loads(MESSAGES.patch(said, Patch(output_cap=cap)))

    assert patched["max_tokens"] == cap
    assert patched["thinking"] == {"type": "enabled", "budget_tokens": lowered}


# Refusals


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (InvalidApiKey, "authentication_error"),
        (ModelNotAllowed, "permission_error"),
        (ModelNotFound, "not_found_error"),
        (InvalidRequest, "invalid_request_error"),
        (RequestTooLarge, "request_too_large"),
        (BudgetExceeded, "billing_error"),
        (RateLimitExceeded, "rate_limit_error"),
        (LedgerUnavailable, "overloaded_error"),
        (UpstreamUnreachable, "api_error"),
    ],
)
def test_a_refusal_has_the_type_that_sdks_know(refusal: type[Refusal], kind: str) -> None:
    expected = {
        "type": "error",
        "error": {"type": kind, "message": "why", "code": refusal.code},
    }

    assert expected == json.loads(MESSAGES.error_body(refusal("why")))


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(said: bytes) -> None:
    try:
        MESSAGES.inspect(said, NOWHERE)
    except InvalidRequest:
        return
