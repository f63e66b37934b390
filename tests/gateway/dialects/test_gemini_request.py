"""Gemini's API: what is read of a request, and what is written into it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import BudgetExceeded, InvalidRequest
from proxy.gateway.dialects.base import Address, Patch, RequestFacts
from proxy.gateway.dialects.gemini import Gemini, GeminiEmbedding
from proxy.gateway.dialects.gemini_interactions import Interactions
from proxy.gateway.paths import find_way
from tests.gateway.dialects.anything import JSON, NAMES
from tests.gateway.dialects.chunks import compact

STUDIO = Gemini("gemini")
CALL = Address(b"/v1beta/models/gemini-2.5-flash:generateContent", model="gemini-2.5-flash")
STREAM = Address(b"/v1beta/models/gemini-2.5-flash:streamGenerateContent", model="gemini-2.5-flash")
HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def asked(address: Address = CALL, **members: Any) -> RequestFacts:
    return STUDIO.inspect(compact({**HELLO, **members}), address)


# The request...


def test_a_request_is_read() -> None:
    config = {"maxOutputTokens": 100, "candidateCount": 2}
    facts = asked(generationConfig=config, tools=[{"functionDeclarations": []}], labels={"a": "b"})

    assert (facts.model, facts.stream, facts.output_limit, facts.choices) == (
        "gemini-2.5-flash",
        False,
        100,
        2,
    )
    assert (facts.has_tools, facts.unbounded, facts.metadata) == (True, (), {"a": "b"})
    assert asked(STREAM).stream


@pytest.mark.parametrize("value", [100, "100", 100.0])
def test_both_spellings_and_every_form_of_a_number_are_read(value: object) -> None:
    """As protobuf's JSON has it."""
    assert asked(generation_config={"max_output_tokens": value}).output_limit == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"generationConfig":{"maxOutputTokens":1},"generation_config":{}}',
        b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
        b'{"GenerationConfig":{}}',
        b'{"generationConfig":{"maxoutputtokens":9}}',
        b'{"generationConfig":{"maxOutput\\u0054okens":1,"maxOutputTokens":9}}',
        b'{"generationConfig":[]}',
        b'{"generationConfig":{"maxOutputTokens":0}}',
        b'{"generationConfig":{"maxOutputTokens":"many"}}',
        b'{"generationConfig":{"candidateCount":1000}}',
        b'{"tools":{}}',
        b'{"contents":' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        STUDIO.inspect(body, CALL)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"tools": [{"googleSearch": {}}]}, "server tool googleSearch"),
        ({"tools": [{"google_search": {}}]}, "server tool google_search"),
        ({"tools": [{"urlContext": {}}]}, "server tool urlContext"),
        ({"tools": [{"codeExecution": {}}]}, "server tool codeExecution"),
        ({"tools": [{"fileSearch": {}}]}, "server tool fileSearch"),
        ({"cachedContent": "cachedContents/x"}, "cachedContent"),
        ({"cached_content": "cachedContents/x"}, "cachedContent"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://x"}}]}]}, "fileData"),
        ({"contents": {"parts": {"file_data": {"fileUri": "gs://x"}}}}, "fileData"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}]}]},
            "inlineData audio/wav",
        ),
        ({"systemInstruction": {"parts": [{"fileData": {}}]}}, "fileData"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "IMAGE output"),
        ({"contents": [{"parts": [{"somethingNew": {}}]}]}, "somethingNew"),
    ],
)
def test_what_the_body_does_not_bound_is_named(members: dict[str, Any], reason: str) -> None:
    assert asked(**members).unbounded == (reason,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            b'{ "contents" : [ ] }',
            b'{ "contents" : [ ] ,"generationConfig":{"maxOutputTokens":7}}',
        ),
        (
            b'{"generationConfig":{"topK":1} ,"contents":[]}',
            b'{"generationConfig":{"topK":1,"maxOutputTokens":7} ,"contents":[]}',
        ),
        (b'{"generationConfig":{}}', b'{"generationConfig":{"maxOutputTokens":7}}'),
        (b'{"generationConfig":null}', b'{"generationConfig":{"maxOutputTokens":7}}'),
        (
            b'{"generation_config":{"max_output_tokens": 99 }}',
            b'{"generation_config":{"max_output_tokens": 7 }}',
        ),
        (
            b'{"generationConfig":{"maxOutputTokens":null}}',
            b'{"generationConfig":{"maxOutputTokens":7}}',
        ),
        (b"{}", b'{"generationConfig":{"maxOutputTokens":7}}'),
    ],
)
def test_a_cap_is_written_and_nothing_else(before: bytes, after: bytes) -> None:
    written = STUDIO.patch(before, Patch(output_cap=7))

    assert json.loads(written) == json.loads(after)
    assert written.replace(b" ,", b",") == after.replace(b" ,", b",")
    assert STUDIO.patch(before, Patch(model="other")) is before


def test_the_prompt_is_all_that_is_text() -> None:
    facts = asked(
        systemInstruction={"parts": [{"text": "Be brief"}]},
        contents=[
            {"parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
        ],
        tools=[{"functionDeclarations": [{"name": "f"}]}],
    )
    text = STUDIO.prompt_text(facts)

    for part in ("Be brief", "Hi", '{"name":"f","args":{"a":1}}', '{"name":"f"}'):
        assert part in text
    assert "AAAA" not in text


@given(st.dictionaries(NAMES | st.sampled_from(["contents", "tools", "generationConfig"]), JSON))
def test_no_request_is_too_strange(document: dict[str, Any]) -> None:
    """It is read or refused; what was read can be patched and its prompt counted."""
    body = compact(document)
    try:
        facts = STUDIO.inspect(body, CALL)
    except InvalidRequest:
        return
    STUDIO.prompt_text(facts)
    again = STUDIO.inspect(STUDIO.patch(body, Patch(output_cap=5)), CALL)
    assert again.output_limit == 5


# Embeddings, interactions, refusals...


def test_an_embedding_has_no_output() -> None:
    embedding = GeminiEmbedding("gemini")
    body = compact({"requests": [{"content": {"parts": [{"text": "Some text"}]}}]})
    facts = embedding.inspect(body, CALL)

    assert (facts.makes_text, facts.unbounded) == (False, ())
    assert embedding.prompt_text(facts) == "Some text"
    assert embedding.patch(body, Patch(output_cap=5)) is body


def test_an_interaction_is_read_and_patched() -> None:
    interactions = Interactions()
    body = compact(
        {
            "model": "gemini-2.5-flash",
            "input": [{"type": "text", "text": "Hi"}, {"type": "image", "data": "AAAA"}],
            "previous_interaction_id": "v1_x",
            "tools": [{"type": "google_search"}],
            "generation_config": {"max_output_tokens": 64},
            "stream": True,
        }
    )
    facts = interactions.inspect(body, CALL)

    assert (facts.model, facts.stream, facts.output_limit) == ("gemini-2.5-flash", True, 64)
    assert facts.unbounded == ("previous_interaction_id", "server tool google_search", "image")
    assert "Hi" in interactions.prompt_text(facts)
    patched = json.loads(interactions.patch(body, Patch(model="other", output_cap=7)))
    assert (patched["model"], patched["generation_config"]["max_output_tokens"]) == ("other", 7)


def test_a_refusal_has_googles_shape() -> None:
    error = json.loads(STUDIO.error_body(BudgetExceeded("No.")))["error"]

    assert (error["code"], error["status"], error["message"]) == (429, "RESOURCE_EXHAUSTED", "No.")
    assert error["details"][0]["reason"] == "budget_exceeded"


@pytest.mark.parametrize(
    ("path", "family", "metered"),
    [
        (b"/v1beta/models/gemini-2.5-flash:generateContent", "gemini", True),
        (b"/v1alpha/models/gemini-2.5-flash:streamGenerateContent", "gemini", True),
        (b"/v1/models/gemini-2.5-flash:embedContent", "gemini", True),
        (b"/v1beta/models/gemini-2.5-flash:countTokens", "gemini", False),
        (b"/v1beta/tunedModels/mine:generateContent", "gemini", True),
        (b"/upload/v1beta/files", "gemini", False),
        (b"/v1beta/cachedContents", "gemini", True),
        (
            b"/v1/projects/p/locations/global/publishers/google/models/g:generateContent",
            "vertex",
            True,
        ),
        (b"/v1beta1/publishers/google/models/g:generateContent", "vertex", True),
        (b"/v1/projects/p/locations/l/endpoints/7:streamGenerateContent", "vertex", True),
        (b"/v1/projects/p/locations/l/endpoints/openapi/chat/completions", "vertex", True),
        (b"/v1beta1/projects/p/locations/l/cachedContents", "vertex", True),
    ],
)
def test_where_geminis_paths_lead(path: bytes, family: str, metered: bool) -> None:
    """Each with the whole path for the upstream: they name their version themselves."""
    way = find_way("POST", path, {})

    assert way is not None
    assert (way.dialect.family, way.metered, way.holds) == (family, metered, 0)


@pytest.mark.parametrize("action", ["rawPredict", "streamRawPredict"])
def test_claude_at_vertex_speaks_anthropics_format(action: str) -> None:
    """The model is in the path, and the region decides the price."""
    path = f"/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929:{action}"
    way = find_way("POST", path.encode(), {})

    assert way is not None
    assert (way.dialect.name, way.dialect.family, way.metered) == (
        "anthropic_messages",
        "vertex",
        True,
    )
    body = compact({"anthropic_version": "vertex-2023-10-16", "messages": [], "max_tokens": 9})
    facts = way.dialect.inspect(body, Address(path.encode(), model=way.model))
    assert (facts.model, facts.output_limit, facts.variants) == (
        "claude-sonnet-4-5@20250929",
        9,
        ("regional",),
    )
