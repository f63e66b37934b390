"""Changes to a chat request's body: one span each, and every other byte as it came."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import (
    BudgetExceeded,
    InvalidRequest,
    RateLimitExceeded,
    Refusal,
    UpstreamTimeout,
)
from proxy.gateway.dialects.base import Patch
from proxy.gateway.dialects.openai_chat import OpenAIChat
from tests.gateway.dialects.chunks import asked
from tests.gateway.dialects.documents import documents, spelled

CHAT = OpenAIChat()
TOUCHED = {"model", "max_tokens", "max_completion_tokens", "stream_options"}


@pytest.mark.parametrize(
    ("body", "patch", "expected"),
    [
        (b'{"model":"a","messages":[]}', Patch(model="b"), b'{"model":"b","messages":[]}'),
        (b'{"messages":[], "model" :\n"a" }', Patch(model='b"'), b'{"messages":[], "model" :\n"b\\"" }'),
        (b'{"model":"a","messages":[]}', Patch(output_cap=5, cap_parameter="max_tokens"), b'{"model":"a","messages":[],"max_tokens":5}'),
        (b'{"model":"a"}\n', Patch(output_cap=5), b'{"model":"a","max_tokens":5}\n'),
        (b'{"model":"o3"}', Patch(output_cap=5), b'{"model":"o3","max_completion_tokens":5}'),
        (b'{"model":"fast"}', Patch(model="gpt-5", output_cap=5), b'{"model":"gpt-5","max_completion_tokens":5}'),
        (b'{"max_tokens": 100,"model":"a"}', Patch(output_cap=5), b'{"max_tokens": 5,"model":"a"}'),
        (b'{"model":"a","max_tokens":100}', Patch(output_cap=5, cap_parameter="max_completion_tokens"), b'{"model":"a","max_tokens":5}'),
        (b'{"max_tokens":100,"max_completion_tokens":200,"model":"a"}', Patch(output_cap=5), b'{"max_tokens":5,"max_completion_tokens":5,"model":"a"}'),
        (b'{"max_tokens":3,"max_completion_tokens":200,"model":"a"}', Patch(output_cap=5), b'{"max_tokens":3,"max_completion_tokens":5,"model":"a"}'),
        (b'{"model":"a","max_tokens":null}', Patch(output_cap=5), b'{"model":"a","max_tokens":5}'),
        (b'{"model":"o3","max_tokens":null}', Patch(output_cap=5), b'{"model":"o3","max_tokens":null,"max_completion_tokens":5}'),
        (b'{"max\\u005ftokens":9,"model":"a"}', Patch(output_cap=5), b'{"max\\u005ftokens":5,"model":"a"}'),
        (b'{"tools":[{"max_tokens":9}],"model":"a"}', Patch(output_cap=5), b'{"tools":[{"max_tokens":9}],"model":"a","max_tokens":5}'),
        (b'{"model":"a"}', Patch(include_usage=True), b'{"model":"a","stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{}}', Patch(include_usage=True), b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":null}', Patch(include_usage=True), b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{ "include_obfuscation":false }}', Patch(include_usage=True), b'{"stream_options":{ "include_obfuscation":false ,"include_usage":true}}'),
        (b'{"stream_options":{"include_usage": false,"x":{}},"n":1}', Patch(include_usage=True), b'{"stream_options":{"include_usage": true,"x":{}},"n":1}'),
        (b'{"model":"a"}', Patch(model="b", output_cap=5, include_usage=True), b'{"model":"b","max_tokens":5,"stream_options":{"include_usage":true}}'),
    ],
)  # fmt: skip
def test_a_change_is_one_span(body: bytes, patch: Patch, expected: bytes) -> None:
    """In place where the member exists, else before the closing brace."""
    assert expected == CHAT.patch(body, patch)


@pytest.mark.parametrize(
    "patch",
    [
        Patch(),
        Patch(model="a"),
        Patch(output_cap=100),
        Patch(output_cap=200, cap_parameter="max_completion_tokens"),
        Patch(include_usage=True),
        Patch("a", 100, "max_tokens", include_usage=True),
    ],
)
def test_with_nothing_to_change_it_is_the_same_object(patch: Patch) -> None:
    body = b'{"model":"a","max_tokens":100,"stream_options":{"include_usage":true}}'

    assert CHAT.patch(body, patch) is body


_LIMITS = st.one_of(st.none(), st.integers(1, 1000))
_OWN = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt-4o", "o3", "é"]), "messages": st.just([{"max_tokens": 1}])},
    optional={
        "max_tokens": _LIMITS,
        "max_completion_tokens": _LIMITS,
        "stream_options": st.one_of(
            st.none(),
            st.dictionaries(st.sampled_from(["include_usage", "x"]), st.booleans(), max_size=2),
        ),
    },
)
_PATCHES = st.builds(
    Patch,
    model=st.one_of(st.none(), st.sampled_from(["gpt-4o", "gpt-5", 'a"b'])),
    output_cap=st.one_of(st.none(), st.integers(1, 1000)),
    cap_parameter=st.sampled_from(["", "max_tokens", "max_completion_tokens"]),
    include_usage=st.booleans(),
)


def edited(document: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """What the patch says, done to the parsed body."""
    document = {**document}
    if patch.output_cap is not None:
        limits = [n for n in ("max_tokens", "max_completion_tokens") if document.get(n) is not None]
        newer = (patch.model or document["model"]) in ("o3", "gpt-5")
        absent = patch.cap_parameter or ("max_completion_tokens" if newer else "max_tokens")
        for name in limits or [absent]:
            document[name] = min(patch.output_cap, document.get(name) or patch.output_cap)
    if patch.model is not None:
        document["model"] = patch.model
    if patch.include_usage:
        document["stream_options"] = {
            **(document.get("stream_options") or {}),
            "include_usage": True,
        }
    return document


@given(documents(), _OWN, _PATCHES, st.randoms(use_true_random=False))
def test_a_patched_body_means_what_the_patch_says(
    document: dict[str, Any], own: dict[str, Any], patch: Patch, random: Random
) -> None:
    """For any body, however it is written: the same as changing the parsed body."""
    others = {name: value for name, value in document.items() if name not in TOUCHED}
    members = list({**others, **own}.items())
    random.shuffle(members)
    body = spelled(dict(members), random)

    assert edited(dict(members), patch) == json.loads(CHAT.patch(body, patch))


@given(documents(), _OWN, _PATCHES, st.randoms(use_true_random=False))
def test_bytes_outside_the_changes_stay(
    document: dict[str, Any], own: dict[str, Any], patch: Patch, random: Random
) -> None:
    """Members that no patch touches are there with the very bytes that they had, in their order."""
    others = {name: value for name, value in document.items() if name not in TOUCHED}
    members = list({**others, **own}.items())
    random.shuffle(members)
    written = [(name, spelled({name: value}, random)[1:-1]) for name, value in members]
    body = b"{" + b",".join(text for _, text in written) + b"}"

    patched = CHAT.patch(body, patch)

    at = 0
    for name, text in written:
        if name not in TOUCHED:
            found = patched.find(text, at)
            assert found >= at
            at = found + len(text)


def test_a_refusal_has_openais_shape() -> None:
    refusals: list[tuple[Refusal, dict[str, Any]]] = [
        (InvalidRequest("No.", param="n"), {"message": "No.", "type": "invalid_request_error", "param": "n", "code": "invalid_request"}),
        (BudgetExceeded("Over."), {"message": "Over.", "type": "insufficient_quota", "param": None, "code": "budget_exceeded"}),
        (RateLimitExceeded("Wait."), {"message": "Wait.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}),
        (UpstreamTimeout("Slow."), {"message": "Slow.", "type": "upstream_error", "param": None, "code": "upstream_timeout"}),
    ]  # fmt: skip
    for refusal, expected in refusals:
        assert {"error": expected} == json.loads(CHAT.error_body(refusal))


def test_the_prompts_text_is_all_that_is_tokenized() -> None:
    """Contents and their parts, names, tool calls, tools, schema and prediction; not what is a setting."""
    facts = asked(
        messages=[
            {"role": "system", "content": "be brief", "name": "boss"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "http://x"}}]},
            {"role": "assistant", "content": None, "refusal": "no", "reasoning_content": "hm", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
            "not a message",
        ],
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {"name": "s"}},
        prediction={"type": "content", "content": "maybe"},
        stop="STOP",
    )  # fmt: skip

    expected = [
        "boss", "be brief", "look", "no", "hm", "f", "{}", "42",
        '[{"type":"function","function":{"name":"f"}}]', '{"name":"s"}', "maybe",
    ]  # fmt: skip

    assert expected == CHAT.prompt_text(facts).split("\n")
