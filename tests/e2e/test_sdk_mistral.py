"""Mistral's own SDK through Farebox: what the application sees, and what is billed."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.e2e.canned import streamed, whole
from tests.e2e.conftest import Start
from tests.e2e.running import KEY
from tests.e2e.wire import Recorder, recorder

Ask = Callable[[Mistral], Awaitable[Any]]
REAL = "of-the-company"
MODEL = "mistral-small-latest"
USAGE = {"prompt_tokens": 11, "total_tokens": 16, "completion_tokens": 5,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Capital of France?"}],
    "max_tokens": 64,
}
HEAD = {"id": "cmpl-1", "object": "chat.completion", "created": 1741569952, "model": MODEL}


def choice(name: str, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, name: message, "finish_reason": finish}


SAID = {"role": "assistant", "content": "Paris.", "tool_calls": None}
WHOLE = whole({**HEAD, "choices": [choice("message", SAID, "stop")], "usage": USAGE})
CHUNKS: tuple[dict[str, Any], ...] = (
    {**HEAD, "choices": [choice("delta", {"role": "assistant", "content": ""}, None)]},
    {**HEAD, "choices": [choice("delta", {"content": "Pa"}, None)]},
    {**HEAD, "choices": [choice("delta", {"content": "ris."}, "stop")], "usage": USAGE},
)
EVENTS = [*(f"data: {json.dumps(c)}\n\n".encode() for c in CHUNKS), b"data: [DONE]\n\n"]
VECTORS = {"id": "e-1", "object": "list", "model": "mistral-embed",
           "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
           "usage": {"prompt_tokens": 3, "total_tokens": 3, "completion_tokens": 0}}  # fmt: skip


def sections(upstream: Recorder) -> dict[str, Any]:
    """The configuration with Mistral as its upstream."""
    made = {"preset": "mistral", "base_url": f"{upstream.url}/v1", "api_key": REAL}
    return {
        "upstreams": {"sim": {"base_url": "{simulator}/v1"}, "mistral": made},
        "models": [{"match": "*", "upstream": "mistral"}],
        "prices": [{"model": "*", "input_per_mtok": "1", "output_per_mtok": "10"}],
    }


async def complete(url: str, key: str, *, stream: bool) -> list[dict[str, Any]]:
    async with Mistral(api_key=key, server_url=url) as sdk:
        if not stream:
            return [(await sdk.chat.complete_async(**ASKED)).model_dump()]
        events = await sdk.chat.stream_async(**ASKED)
        return [event.data.model_dump() async for event in events]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_application_sees_what_the_provider_says(start: Start, stream: bool) -> None:
    """The same through Farebox as directly, and the same body goes to the provider."""
    served = streamed(EVENTS, "text/event-stream") if stream else WHOLE
    async with recorder(served) as upstream:
        direct = await complete(upstream.url, REAL, stream=stream)
        async with start(**sections(upstream)) as run:
            assert direct == await complete(run.url, KEY, stream=stream)
            row = await run.only_call()
            assert await run.verify() == []

    first, second = upstream.requests
    assert json.loads(first.body) == json.loads(second.body)
    assert (row["endpoint"], row["usage_source"], row["upstream"]) == (
        "chat.completions",
        "provider",
        "mistral",
    )
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (11, 4, 5)


async def test_embeddings(start: Start) -> None:
    async with recorder(whole(VECTORS)) as upstream, start(**sections(upstream)) as run:
        answers = []
        for url, key in ((upstream.url, REAL), (run.url, KEY)):
            async with Mistral(api_key=key, server_url=url) as sdk:
                made = await sdk.embeddings.create_async(model="mistral-embed", inputs=["water"])
                answers.append(made.model_dump())
        row = await run.only_call()

    assert answers[0] == answers[1]
    assert (row["usage_source"], row["input_tokens"], row["cost_usd"]) == (
        "provider",
        3,
        "0.000003",
    )


async def fill_in(sdk: Mistral) -> Any:
    return await sdk.fim.complete_async(model="codestral-latest", prompt="def f(", suffix="x")


async def ask_an_agent(sdk: Mistral) -> Any:
    return await sdk.agents.complete_async(agent_id="ag_1", messages=ASKED["messages"])


async def read_pages(sdk: Mistral) -> Any:
    document: Any = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    return await sdk.ocr.process_async(model="mistral-ocr-latest", document=document)


PAGE = {"index": 0, "markdown": "# A", "images": [], "dimensions": None}
PAGES = {"pages": [PAGE, PAGE | {"index": 1}], "model": "mistral-ocr-2505-completion",
         "usage_info": {"pages_processed": 2, "doc_size_bytes": 9_000}}  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "answer", "endpoint", "usd"),
    [
        (fill_in, WHOLE, "fim", "0.000058"),  # 7 in, 4 from the cache, 5 out
        (ask_an_agent, WHOLE, "agents", "0.000058"),
        (read_pages, whole(PAGES), "ocr", "0.008"),
    ],
)
async def test_what_else_mistral_bills(
    start: Start, ask: Ask, answer: bytes, endpoint: str, usd: str
) -> None:
    """The same answer as directly, charged by what it reports."""
    async with recorder(answer) as upstream:
        document = sections(upstream)
        document["prices"][0] |= {"per_page": "0.004", "cached_input_per_mtok": "0.25"}
        async with start(**document) as run:
            answers = []
            for url, key in ((upstream.url, REAL), (run.url, KEY + "-other")):  # without a budget
                async with Mistral(api_key=key, server_url=url) as sdk:
                    answers.append((await ask(sdk)).model_dump())
            row = await run.only_call()
            assert await run.verify() == []

    assert answers[0] == answers[1]
    assert (row["endpoint"], row["usage_source"], row["cost_usd"]) == (endpoint, "provider", usd)


async def test_a_budget_refuses_in_the_sdks_own_exception(start: Start) -> None:
    budgets = [{"limit_usd": "0.000000001", "window": "month"}]
    teams = [{"name": "search", "budgets": budgets}]
    async with recorder(WHOLE) as upstream, start(**sections(upstream), teams=teams) as run:
        for stream in (False, True):
            with pytest.raises(SDKError, match="team:search:month") as refused:
                await complete(run.url, KEY, stream=stream)
            assert refused.value.status_code == 429
        assert upstream.requests == []
