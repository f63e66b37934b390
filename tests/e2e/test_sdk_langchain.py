"""LangChain's OpenAI classes through Farebox: they get what they get without it, and the rows are the bill."""

from typing import Any

import openai
import pytest
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, Running, as_billed, as_invoiced
from tests.e2e.test_sdk import WEATHER, Journey

PROMPT = "Which line goes to the harbour? [[sim: id=fixed]]"


def chat(url: str, key: str, http: Any, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="gpt-4o-mini",
        base_url=f"{url}/v1",
        api_key=SecretStr(key),
        http_async_client=http,
        **more,
    )


def seen(message: BaseMessage) -> dict[str, Any]:
    """A message without the ids that LangChain makes up."""
    return message.model_dump(exclude={"id"}) | {"usage": getattr(message, "usage_metadata", None)}


async def everything(url: str, key: str) -> list[Any]:
    """What a client gets, of all kinds."""
    async with openai.DefaultAsyncHttpxClient() as http:
        return await _everything(url, key, http)


async def _everything(url: str, key: str, http: Any) -> list[Any]:
    model = chat(url, key, http)
    whole = await model.ainvoke(PROMPT)
    pieces = [piece async for piece in model.astream(PROMPT)]
    with_tools = model.bind_tools([WEATHER], tool_choice="any")
    calls = await with_tools.ainvoke("The weather? [[sim: id=fixed,tool_calls=2]]")
    journey = await model.with_structured_output(Journey).ainvoke(PROMPT)
    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=f"{url}/v1",
        api_key=SecretStr(key),
        http_async_client=http,
        check_embedding_ctx_length=False,  # it would fetch a vocabulary
    )
    vectors = await embeddings.aembed_documents(["water", "a river"])
    assert isinstance(journey, BaseModel)
    assert calls.tool_calls
    return [seen(whole), [seen(p) for p in pieces], calls.tool_calls, journey.model_dump(), vectors]


async def test_langchain_gets_what_it_gets_without_farebox(run: Running) -> None:
    """Whole, streamed, tools, structured output and embeddings."""
    assert await everything(run.url, KEY) == await everything(run.upstream, SIMULATED)
    await run.is_idle()
    rows, lines = await run.calls(), await run.invoice()

    assert [row["usage_source"] for row in rows] == ["provider"] * 5
    assert len(lines) == 10
    chats = [(as_billed(r), as_invoiced(line)) for r, line in zip(rows[:4], lines[:4], strict=True)]
    assert [row for row, _ in chats] == [line for _, line in chats]
    assert rows[4]["input_tokens"] == lines[4]["prompt_tokens"]
    assert await run.settled_cleanly() == sum(line["cost_nano"] for line in lines[:5])


async def test_the_usage_that_langchain_shows_is_the_ledgers(run: Running) -> None:
    """Of a stream too: LangChain asks for it."""
    total: Any = None
    async with openai.DefaultAsyncHttpxClient() as http:
        async for piece in chat(run.url, KEY, http, stream_usage=True).astream(PROMPT):
            total = piece if total is None else total + piece
    row = await run.only_call()

    usage = total.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == (
        row["input_tokens"],
        row["output_tokens"],
    )


async def test_a_budget_refuses_in_the_sdks_own_exception(start: Start) -> None:
    """At once: it is not retried."""
    budgets = [{"limit_usd": "0.000001", "window": "month"}]
    async with start(teams=[{"name": "search", "budgets": budgets}]) as run:
        async with openai.DefaultAsyncHttpxClient() as http:
            with pytest.raises(openai.RateLimitError, match="team:search:month"):
                await chat(run.url, KEY, http).ainvoke(PROMPT)
        assert [row["outcome"] for row in await run.calls()] == ["refused"]
        assert await run.invoice() == []
