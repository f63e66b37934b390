"""OpenAI's SDK for Azure through Farebox: deployments, headers, and what its filter costs."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.canned import streamed, whole
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED
from tests.e2e.wire import Recorder, recorder

REAL = "key-of-the-companys-azure"
HEADERS = [
    ("x-ms-served-model", "gpt-4o-mini-2024-07-18"),
    ("x-ms-deployment-name", "my-deployment"),
    ("x-ms-is-spilled-over", "true"),
    ("x-ms-region", "West Europe"),
]
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
FILTER: dict[str, Any] = {
    "prompt_index": 0,
    "content_filter_results": {"hate": {"filtered": False}},
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Paris."},
        }
    ],
    "prompt_filter_results": [FILTER],
    "usage": USAGE,
}


def chunk(choices: list[Any], **more: Any) -> bytes:
    made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "", **more}
    return b"data: " + json.dumps({"choices": choices, **made}, separators=(",", ":")).encode()


CHUNKS = [
    chunk([], prompt_filter_results=[FILTER]),
    chunk([{"index": 0, "delta": {"content": "Paris."}, "finish_reason": None}]),
    chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
]
ASKED = [*CHUNKS, chunk([], usage=USAGE), b"data: [DONE]"]


def config(upstream: Recorder) -> dict[str, Any]:
    made = {"preset": "azure", "base_url": upstream.url, "api_key": REAL}
    return {
        "upstreams": {"sim": {"base_url": "{simulator}/v1"}, "azure": made},
        "models": [{"match": "my-*", "upstream": "azure"}, {"match": "*", "upstream": "sim"}],
        "prices": [{"model": "my-*", "input_per_mtok": "1.00", "output_per_mtok": "4.00"}],
    }


def sdk(url: str, key: str) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21")


async def chat(client: openai.AsyncAzureOpenAI, *, stream: bool) -> list[Any]:
    arguments: dict[str, Any] = {
        "model": "my-deployment",
        "messages": [{"role": "user", "content": "Capital of France?"}],
    }
    async with client:
        if not stream:
            return [(await client.chat.completions.create(**arguments)).model_dump()]
        chunks = await client.chat.completions.create(stream=True, **arguments)
        return [c.model_dump() async for c in chunks]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_application_sees_what_azure_says(start: Start, stream: bool) -> None:
    """But for the usage that only Farebox asked for; the row says what the head of the answer does."""
    body = b"\n\n".join(ASKED) + b"\n\n"
    answer = (
        streamed([body[:50], body[50:]], "text/event-stream; charset=utf-8", HEADERS)
        if stream
        else whole(ANSWER, headers=HEADERS)
    )
    async with recorder(answer) as upstream:
        async with start(**config(upstream)) as run:
            direct = await chat(sdk(upstream.url, REAL), stream=stream)
            through = await chat(sdk(run.url, KEY), stream=stream)
            row = await run.only_call()
            [attempt] = await run.attempts(row["id"])

        first, second = upstream.requests
        assert first.line == second.line
        assert b"api-version=2024-10-21" in second.line
        sent = dict(second.headers)
        assert sent[b"api-key"] == REAL.encode()
        assert b"authorization" not in sent
        assert json.loads(second.body) == json.loads(first.body) | (
            {"stream_options": {"include_usage": True}} if stream else {}
        )
    assert through == (direct[:-1] if stream else direct)
    assert (row["input_tokens"], row["output_tokens"]) == (9, 2)
    assert (row["model_served"], row["usage_source"]) == ("gpt-4o-mini-2024-07-18", "provider")
    assert "spilled_over" in attempt["flags"]


FILTERED = {
    "message": "The response was filtered.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
}
TOO_LONG = {"code": "Timeout", "message": "The operation was timeout."}


ASKING: dict[str, dict[str, Any]] = {
    "/openai/deployments/my-deployment/chat/completions": {
        "messages": [{"role": "user", "content": "Capital of France?"}]
    },
    "/openai/v1/responses": {"model": "my-deployment", "input": "Capital of France?"},
}


@pytest.mark.parametrize(("status", "error"), [(400, FILTERED), (408, TOO_LONG)])
@pytest.mark.parametrize("path", ASKING)
async def test_what_is_refused_after_work_is_billed(
    start: Start, status: int, error: dict[str, Any], path: str
) -> None:
    """The row has the prompt, as we count it, and is marked: Azure does not say how much it bills."""
    refused = whole({"error": error}, status=status)
    async with recorder(refused) as upstream, start(**config(upstream)) as run:
        async with httpx.AsyncClient(base_url=run.url) as client:
            answer = await client.post(path, headers={"api-key": KEY}, json=ASKING[path])
        row = await run.only_call()
        [attempt] = await run.attempts(row["id"])
    assert (answer.status_code, answer.json()) == (status, {"error": error})
    assert (row["status"], row["usage_source"]) == (status, "estimated")
    assert row["input_tokens"] > 3
    assert row["cost_usd"] == f"0.00{row['input_tokens']:04d}"
    assert "billed_unknown" in attempt["flags"]


async def test_what_took_too_long_is_billed_where_another_answers(start: Start) -> None:
    """As an attempt of its own."""
    async with recorder(whole({"error": TOO_LONG}, status=408)) as upstream:
        changed = config(upstream)
        changed["upstreams"]["sim"]["api_key"] = SIMULATED
        changed["models"] = [
            {"name": "my-model", "targets": ["azure/my-deployment", "sim/gpt-4o-mini"]}
        ]
        changed["prices"] = [{"input_per_mtok": "1.00", "output_per_mtok": "4.00"}]
        async with start(**changed) as run, run.sdk() as client:
            answer = await client.chat.completions.create(
                model="my-model", messages=[{"role": "user", "content": "Capital of France?"}]
            )
            row = await run.only_call()
            first, second = await run.attempts(row["id"])
    assert answer.choices
    assert (first["error"], first["usage_source"]) == ("status_408", "estimated")
    assert first["usage"]["input"] > 3
    assert "billed_unknown" in first["flags"]
    assert second["usage_source"] == "provider"


async def test_a_budget_refuses_in_the_sdks_own_exception(start: Start) -> None:
    teams = [{"name": "search", "budgets": [{"limit_usd": "0.000001", "window": "month"}]}]
    async with recorder(whole(ANSWER)) as upstream, start(**config(upstream), teams=teams) as run:
        with pytest.raises(openai.RateLimitError) as caught:
            await chat(sdk(run.url, KEY), stream=False)
        assert upstream.requests == []
    assert caught.value.code == "budget_exceeded"
