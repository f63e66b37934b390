"""Bedrock: what is read of a request, and what is written into it."""

import json
from typing import Any

import pytest

from proxy.core.errors import BudgetExceeded, InvalidRequest, RateLimitExceeded
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Address, Patch, RequestFacts
from proxy.gateway.dialects.bedrock_converse import Converse
from proxy.gateway.dialects.bedrock_invoke import Invoke
from proxy.gateway.paths import find_way
from tests.gateway.dialects.chunks import compact

CONVERSE, INVOKE = Converse(), Invoke()
HELLO = [{"role": "user", "content": [{"text": "Hello"}]}]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def at(model: str, action: str) -> Address:
    return Address(f"/model/{model}/{action}".encode(), model=model)


def asked(action: str = "converse", model: str = CLAUDE, **members: Any) -> RequestFacts:
    return CONVERSE.inspect(compact({"messages": HELLO, **members}), at(model, action))


def invoked(model: str, action: str = "invoke", **members: Any) -> RequestFacts:
    return INVOKE.inspect(compact(members), at(model, action))


def test_a_conversation_is_read() -> None:
    facts = asked(
        inferenceConfig={"maxTokens": 100},
        toolConfig={"tools": [{"toolSpec": {"name": "f"}}]},
        serviceTier={"type": "flex"},
        requestMetadata={"workflow": "w"},
    )

    assert (facts.model, facts.output_limit, facts.has_tools) == (CLAUDE, 100, True)
    assert (facts.service_tier, facts.metadata) == ("flex", {"workflow": "w"})
    assert (facts.unbounded, facts.stream) == ((), False)
    assert asked("converse-stream").stream


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"messages": [{"content": [{"video": {}}]}]}, "video"),
        ({"messages": [{"content": [{"document": {"source": {"bytes": ""}}}]}]}, "document"),
        ({"messages": [{"content": [{"image": {"source": {"s3Location": {}}}}]}]}, "image"),
        (
            {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
            "server tool systemTool",
        ),
        ({"additionalModelRequestFields": {"max_tokens": 9}}, "additionalModelRequestFields"),
        (
            {"additionalModelRequestFields": {"inferenceConfig": {"maxTokens": 9}}},
            "additionalModelRequestFields",
        ),
    ],
)
def test_what_the_body_does_not_bound_is_named(members: dict[str, Any], reason: str) -> None:
    assert asked(**members).unbounded == (reason,)


def test_pictures_have_a_bound() -> None:
    picture = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    facts = asked(messages=[{"content": [picture, {"toolResult": {"content": [picture]}}]}])

    assert (facts.unbounded, facts.more_input) == ((), 10_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"inferenceConfig":{"maxTokens":1},"inferenceConfig":{}}',
        b'{"inferenceConfig":{"maxTokens":1,"maxTokens":9}}',
        b'{"InferenceConfig":{}}',
        b'{"inferenceConfig":{"maxtokens":9}}',
        b'{"inferenceConfig":{"maxTokens":0}}',
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        CONVERSE.inspect(body, at(CLAUDE, "converse"))


NOVA = {"schemaVersion": "messages-v1", "messages": HELLO}
TITAN = {"inputText": "Hello"}


@pytest.mark.parametrize(
    ("model", "body", "limit"),
    [
        (CLAUDE, {"anthropic_version": "bedrock-2023-05-31", "messages": []}, ["max_tokens"]),
        ("anthropic.claude-v2", {"prompt": "Hello"}, ["max_tokens_to_sample"]),
        ("us.amazon.nova-lite-v1:0", NOVA, ["inferenceConfig", "max_new_tokens"]),
        ("amazon.titan-text-lite-v1", TITAN, ["textGenerationConfig", "maxTokenCount"]),
        ("meta.llama3-8b-instruct-v1:0", {"prompt": "Hello"}, ["max_gen_len"]),
        ("cohere.command-text-v14", {"prompt": "Hello"}, ["max_tokens"]),
        ("mistral.mistral-large-2402-v1:0", {"prompt": "Hello"}, ["max_tokens"]),
        ("openai.gpt-oss-120b-1:0", {"messages": []}, ["max_completion_tokens"]),
        (
            f"arn:aws:bedrock:eu-west-1:1:inference-profile/{CLAUDE}",
            {"messages": []},
            ["max_tokens"],
        ),
    ],
)
def test_each_make_has_its_own_limit(model: str, body: dict[str, Any], limit: list[str]) -> None:
    """It is read where that make has it, and written there."""
    facts = INVOKE.inspect(compact(body), at(model, "invoke"))
    patched = INVOKE.patch(compact(body), Patch(output_cap=7, limit_name=facts.output_limit_name))

    inside = json.loads(patched)
    for name in limit:
        inside = inside[name]
    assert (facts.output_limit, inside) == (None, 7)
    assert INVOKE.inspect(patched, at(model, "invoke")).output_limit == 7
    assert facts.unbounded == ()


def test_a_model_of_an_unknown_make_can_not_be_bounded() -> None:
    facts = invoked("arn:aws:bedrock:us-east-1:1:imported-model/abc", prompt="Hello", max_tokens=5)

    assert len(facts.unbounded) == 1
    assert "unknown make" in facts.unbounded[0]


def test_what_makes_no_text_has_no_cap() -> None:
    assert not invoked("cohere.embed-english-v3", texts=["a"]).makes_text
    assert invoked("cohere.rerank-v3-5:0", documents=["a"] * 101).beside == Usage(searches=2)
    canvas = {"numberOfImages": 3}
    assert invoked("amazon.nova-canvas-v1:0", imageGenerationConfig=canvas).beside == Usage(
        images=3
    )


def test_the_prompt_is_all_that_is_text() -> None:
    text = CONVERSE.prompt_text(
        asked(
            system=[{"text": "Be brief"}],
            toolConfig={"tools": [{"toolSpec": {"name": "lookup"}}]},
        )
    )
    assert all(part in text for part in ("Be brief", "Hello", "lookup"))
    nova = INVOKE.inspect(compact(NOVA), at("amazon.nova-lite-v1:0", "invoke"))
    assert "Hello" in INVOKE.prompt_text(nova)


# Refusals, paths...


def test_a_refusal_has_awss_shape() -> None:
    budget, rate = BudgetExceeded("No."), RateLimitExceeded("No.")

    assert json.loads(CONVERSE.error_body(budget)) == {
        "__type": "ServiceQuotaExceededException",
        "message": "No.",
        "reason": "budget_exceeded",
    }
    assert json.loads(INVOKE.error_body(rate))["__type"] == "ThrottlingException"


@pytest.mark.parametrize(
    ("path", "model", "metered"),
    [
        (b"/model/a.b-v1%3A0/converse", "a.b-v1:0", True),
        (b"/model/a.b-v1:0/invoke-with-response-stream", "a.b-v1:0", True),
        (
            b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke",
            "arn:aws:bedrock:us-east-1:1:inference-profile/x",
            True,
        ),
        (
            b"/model/arn:aws:sagemaker:us-east-1:1:endpoint/x/invoke",
            "arn:aws:sagemaker:us-east-1:1:endpoint/x",
            True,
        ),
        (b"/model/a.b/count-tokens", "a.b", False),
        (b"/guardrail/g/version/1/apply", "", True),
    ],
)
def test_where_bedrocks_paths_lead(path: bytes, model: str, metered: bool) -> None:
    way = find_way("POST", path, {})

    assert way is not None
    assert (way.dialect.family, way.model, way.metered, way.holds) == ("bedrock", model, metered, 0)
