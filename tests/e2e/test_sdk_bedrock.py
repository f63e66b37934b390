"""AWS's own SDK through Farebox: what the application sees, what is billed, and what is signed."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from proxy.gateway.dialects.aws_events import message, wrapped
from tests.e2e.canned import streamed, whole
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Row
from tests.e2e.wire import Recorded, Recorder, recorder
from tests.sigv4 import signature_problem

ID, SECRET, TOKEN = "AKIACOMPANY", "the-companys-secret", "a-session"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
EVENTS = "application/vnd.amazon.eventstream"
METRICS = "amazon-bedrock-invocationMetrics"

USAGE = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 38,
    "cacheReadInputTokens": 3,
    "cacheWriteInputTokens": 20,
}
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Paris."}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 7},
}
STREAMED = [
    message("messageStart", b'{"role":"assistant"}'),
    message("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Paris."}}'),
    message("contentBlockStop", b'{"contentBlockIndex":0}'),
    message("messageStop", b'{"stopReason":"end_turn"}'),
    message("metadata", json.dumps({"usage": USAGE, "metrics": {"latencyMs": 7}}).encode()),
]
CLAUDE = {
    "type": "message",
    "content": [{"type": "text", "text": "Paris."}],
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
COUNTS = [
    ("x-amzn-bedrock-input-token-count", "10"),
    ("x-amzn-bedrock-output-token-count", "5"),
    ("x-amzn-bedrock-cache-read-input-token-count", "3"),
    ("x-amzn-bedrock-cache-write-input-token-count", "20"),
]
INVOKED = [
    wrapped({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Paris."}}),
    wrapped(
        {
            "type": "message_stop",
            METRICS: {
                "inputTokenCount": 10,
                "outputTokenCount": 5,
                "cacheReadInputTokenCount": 3,
                "cacheWriteInputTokenCount": 20,
            },
        }
    ),
]


def client(url: str, key: str = ID, secret: str = SECRET) -> Any:
    """Without retries: boto3 tries every 429 four times more."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(read_timeout=20, retries={"total_max_attempts": 1}),
    )


def config(upstream: Recorder, *, bearer: str = "") -> dict[str, Any]:
    aws = {
        "region": "us-east-1",
        "access_key_id": ID,
        "secret_access_key": SECRET,
        "session_token": TOKEN,
    }
    made: dict[str, Any] = {"dialect": "bedrock", "base_url": upstream.url}
    made |= {"api_key": bearer} if bearer else {"aws": aws}
    return {
        "upstreams": {"sim": {"base_url": "{simulator}/v1"}, "bedrock": made},
        "models": [
            {"name": "claude", "targets": [f"bedrock/{PROFILE}"]},
            {"match": "*anthropic.*", "upstream": "bedrock"},
            {"match": "*", "upstream": "sim"},
        ],
    }


ASK = [{"role": "user", "content": [{"text": "Capital of France?"}]}]
BODY = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Capital of France?"}],
    }
)


def converse(sdk: Any, model: str = MODEL) -> Any:
    return sdk.converse(modelId=model, messages=ASK, inferenceConfig={"maxTokens": 100})


def converse_stream(sdk: Any, model: str = MODEL) -> Any:
    return list(sdk.converse_stream(modelId=model, messages=ASK)["stream"])


def invoke(sdk: Any, model: str = MODEL) -> Any:
    return sdk.invoke_model(modelId=model, body=BODY)["body"].read()


def invoke_stream(sdk: Any, model: str = MODEL) -> Any:
    return list(sdk.invoke_model_with_response_stream(modelId=model, body=BODY)["body"])


async def called(function: Callable[..., Any], url: str, key: str, *arguments: Any) -> Any:
    """What the SDK gets, in a thread, without what differs from request to request."""

    def call() -> Any:
        sdk = client(url, key)
        try:
            return function(sdk, *arguments)
        finally:
            sdk.close()

    answer = await asyncio.to_thread(call)
    if isinstance(answer, dict):
        answer.pop("ResponseMetadata")
    return answer


def problem(request: Recorded) -> str:
    """What is wrong with the signature of a request as it arrived."""
    method, target, _ = request.line.decode().split()
    headers = {name.decode(): value.decode() for name, value in request.headers}
    return signature_problem(method, target, headers, request.body, SECRET)


ALL: dict[str, tuple[Callable[..., Any], bytes]] = {
    "converse": (converse, whole(CONVERSED)),
    "converse_stream": (converse_stream, streamed(STREAMED, EVENTS)),
    "invoke": (invoke, whole(CLAUDE, headers=COUNTS)),
    "invoke_stream": (invoke_stream, streamed(INVOKED, EVENTS)),
}


def assert_counted(row: Row) -> None:
    counts = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
    assert [row[name] for name in counts] == [33, 3, 20, 5]
    assert (row["usage_source"], row["outcome"], row["status"]) == ("provider", "completed", 200)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("model", [MODEL, PROFILE])
async def test_an_application_sees_what_the_provider_says(
    start: Start, name: str, model: str
) -> None:
    """The same through Farebox as directly; and what the provider sees is signed by the company."""
    function, answer = ALL[name]
    async with recorder(answer) as upstream:
        async with start(**config(upstream)) as run:
            direct = await called(function, upstream.url, ID, model)
            assert direct == await called(function, run.url, KEY, model)
            row = await run.only_call()

        first, second = upstream.requests
        assert first.line == second.line
        assert problem(first) == problem(second) == ""
        sent = dict(second.headers)
        assert sent[b"x-amz-security-token"] == TOKEN.encode()
        assert KEY.encode() not in b"".join(sent.values())
    assert_counted(row)
    assert row["model_requested"] == model


async def test_a_name_of_ones_own_leads_to_a_profile(start: Start) -> None:
    """Its own name goes into the path, escaped, and the signature is of that."""
    async with recorder(ALL["converse"][1]) as upstream:
        async with start(**config(upstream)) as run:
            await called(converse, run.url, KEY, "claude")
            row = await run.only_call()

        assert b"inference-profile%2Fus.anthropic" in upstream.requests[0].line
        assert problem(upstream.requests[0]) == ""
    assert_counted(row)


async def test_a_bearer_key_goes_instead_of_a_signature(start: Start) -> None:
    async with recorder(ALL["converse"][1]) as upstream:
        async with start(**config(upstream, bearer="bedrock-api-key")) as run:
            await called(converse, run.url, KEY)
        sent = dict(upstream.requests[0].headers)
    assert sent[b"authorization"] == b"Bearer bedrock-api-key"
    assert not {b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"} & sent.keys()


async def test_a_budget_refuses_in_the_sdks_own_exception(start: Start) -> None:
    """And nothing goes upstream."""
    teams = [{"name": "search", "budgets": [{"limit_usd": "0.000001", "window": "month"}]}]
    async with recorder(ALL["converse"][1]) as upstream:
        async with start(**config(upstream), teams=teams) as run:
            with pytest.raises(ClientError) as caught:
                await called(converse, run.url, KEY)
            rows = await run.calls()
        assert upstream.requests == []
    error = caught.value.response["Error"]
    assert error["Code"] == "ServiceQuotaExceededException"
    assert "search" in error["Message"]
    assert [row["outcome"] for row in rows] == ["refused"]


async def test_an_error_of_the_provider_is_the_sdks_too(start: Start) -> None:
    answer = whole(
        {"message": "The provided model identifier is invalid."},
        status=400,
        headers=[("x-amzn-errortype", "ValidationException")],
    )
    async with recorder(answer) as upstream, start(**config(upstream)) as run:
        for function in (converse, converse_stream):
            with pytest.raises(ClientError) as caught:
                await called(function, run.url, KEY)
            assert caught.value.response["Error"]["Code"] == "ValidationException"
        assert [row["usage_source"] for row in await run.calls()] == ["none", "none"]
