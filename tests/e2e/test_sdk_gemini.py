"""Google's own SDK through Farebox: what the application sees, and what is billed."""

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.canned import streamed, whole
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running
from tests.e2e.wire import Recorder, recorder

REAL = "AIza-of-the-company"
MODEL = "gemini-2.5-flash"


def answer(text: str, **usage: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": text}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9, **usage},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r-1",
    }


LAST: dict[str, Any] = {
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 30,
    "totalTokenCount": 44,
    "cachedContentTokenCount": 4,
}
WHOLE = whole(answer("Paris.", **LAST))
EVENTS = [f"data: {json.dumps(a)}\r\n\r\n".encode() for a in (answer("Pa"), answer("ris.", **LAST))]


def upstreams(upstream: Recorder, dialect: str = "gemini", **more: Any) -> dict[str, Any]:
    made = {"dialect": dialect, "base_url": upstream.url, "api_key": REAL, **more}
    return {"sim": {"base_url": "{simulator}/v1"}, "google": made}


MODELS = [{"match": "gemini-*", "upstream": "google"}, {"match": "*", "upstream": "sim"}]


def client(url: str, key: str, **more: Any) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, **more))


def seen(response: types.GenerateContentResponse) -> dict[str, Any]:
    return response.model_dump(exclude={"sdk_http_response"})


async def generate(sdk: genai.Client, *, stream: bool, **config: Any) -> list[dict[str, Any]]:
    arguments: dict[str, Any] = {"model": MODEL, "contents": "Capital of France?", "config": config}
    async with sdk.aio as models:
        if not stream:
            return [seen(await models.models.generate_content(**arguments))]
        return [seen(r) async for r in await models.models.generate_content_stream(**arguments)]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_application_sees_what_the_provider_says(start: Start, stream: bool) -> None:
    """The same through Farebox as directly; the provider sees the company's key, and no other."""
    served = streamed(EVENTS, "text/event-stream") if stream else WHOLE
    async with recorder(served) as upstream:
        made = upstreams(upstream)
        made["google"]["base_url"] += "/v1beta"
        async with start(upstreams=made, models=MODELS) as run:
            direct = await generate(client(upstream.url, REAL), stream=stream)
            assert direct == await generate(client(run.url, KEY), stream=stream)
            row = await run.only_call()

        first, second = upstream.requests
        assert first.line == second.line
        assert first.body == second.body
        assert dict(second.headers)[b"x-goog-api-key"] == REAL.encode()
        assert KEY.encode() not in b"".join(value for _, value in second.headers)
    counts = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    assert [row[name] for name in counts] == [9, 4, 35, 30]
    assert (row["usage_source"], row["model_served"], row["upstream_call_id"]) == (
        "provider",
        "gemini-2.5-flash",
        "r-1",
    )
    assert (row["outcome"], row["stream"], row["endpoint"]) == (
        "completed",
        stream,
        "generate_content",
    )
    # Of a million tokens: $0.30 in, $0.03 from the cache, $2.50 out.
    assert row["cost_usd"] == "0.00008912"


async def test_a_cap_is_written_where_gemini_has_it(start: Start) -> None:
    teams = [{"name": "search", "max_output_tokens": 50}]
    async with recorder(WHOLE) as upstream:
        async with start(upstreams=upstreams(upstream), models=MODELS, teams=teams) as run:
            await generate(client(run.url, KEY), stream=False, max_output_tokens=400)
            row = await run.only_call()

        config = json.loads(upstream.requests[0].body)["generationConfig"]
    assert config == {"maxOutputTokens": 50}
    assert (row["output_cap"], row["output_cap_source"]) == (50, "team")


async def test_a_budget_refuses_in_the_sdks_own_exception(start: Start) -> None:
    teams = [{"name": "search", "budgets": [{"limit_usd": "0.000001", "window": "month"}]}]
    async with recorder(WHOLE) as upstream:
        async with start(upstreams=upstreams(upstream), models=MODELS, teams=teams) as run:
            with pytest.raises(errors.ClientError) as caught:
                await generate(client(run.url, KEY), stream=False, max_output_tokens=50)
        assert upstream.requests == []
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert "search" in str(caught.value.message)


async def test_an_error_of_the_provider_is_the_sdks_too(start: Start) -> None:
    error = {"error": {"code": 404, "message": "No such model.", "status": "NOT_FOUND"}}
    async with (
        recorder(whole(error, status=404)) as upstream,
        start(upstreams=upstreams(upstream), models=MODELS) as run,
    ):
        with pytest.raises(errors.ClientError) as caught:
            await generate(client(run.url, KEY), stream=False)
        row = await run.only_call()
    assert (caught.value.code, caught.value.message) == (404, "No such model.")
    assert (row["status"], row["cost_usd"], row["usage_source"]) == (404, "0.00", "none")


async def vertex_call(run: Running, upstream: Recorder) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    path = "/v1/projects/p/locations/europe-west1/publishers/google/models"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    answered = await run.client.post(f"{path}/{MODEL}:generateContent", json=body, headers=headers)
    assert answered.status_code == 200, answered.text
    assert dict(upstream.requests[0].headers)[b"authorization"] == b"Bearer " + REAL.encode()
    assert upstream.requests[0].line.split()[1] == f"{path}/{MODEL}:generateContent".encode()


async def test_vertex_takes_a_bearer_token_and_the_whole_path(start: Start) -> None:
    async with recorder(WHOLE) as upstream:
        made = upstreams(upstream, preset="vertex")
        async with start(upstreams=made, models=MODELS) as run:
            await vertex_call(run, upstream)
            row = await run.only_call()
    assert (row["output_tokens"], row["upstream"]) == (35, "google")


async def test_counting_tokens_is_free_and_goes_to_the_models_upstream(start: Start) -> None:
    async with (
        recorder(whole({"totalTokens": 7})) as upstream,
        start(upstreams=upstreams(upstream), models=MODELS) as run,
    ):
        async with client(run.url, KEY).aio as sdk:
            counted = await sdk.models.count_tokens(model=MODEL, contents="Hi")
        row = await run.only_call()
    assert counted.total_tokens == 7
    assert (row["endpoint"], row["cost_usd"], row["upstream"]) == (
        "count_tokens",
        "0.00",
        "google",
    )
