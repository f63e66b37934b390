"""OpenAI's own SDK through Farebox: what the application sees, and what is billed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.running import KEY, Row, Running, as_billed, as_invoiced

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place", "days"],
        },
    },
}


class Journey(BaseModel):
    """What a model is asked to fill in."""

    line: str
    stops: list[str]
    minutes: int


@dataclass(frozen=True)
class Ask:
    """A request, with a fixed id so that equal requests get equal answers."""

    model: str = "gpt-4o-mini"
    controls: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """What the SDK is called with."""
        prompt = f"Which line goes to the harbour? [[sim: id=fixed,{self.controls}]]"
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            **self.extra,
        }


ASKS = {
    "plain": Ask(),
    "long": Ask(controls="output_tokens=900", extra={"max_tokens": 1000}),
    "cut short": Ask(controls="output_tokens=50", extra={"max_tokens": 7}),
    "cached input": Ask("gpt-4.1", "prompt_tokens=3001,cached_tokens=2048"),
    "three choices": Ask("gpt-4o", "output_tokens=11", {"n": 3}),
    "reasoning": Ask("gpt-5", "reasoning_tokens=777,cached_tokens=5"),
    "reasoning only": Ask("gpt-5-mini", "reasoning_tokens=99", {"max_completion_tokens": 64}),
    "o-series": Ask("o4-mini", "cached_tokens=7", {"max_completion_tokens": 500}),
    "flex": Ask("gpt-5", "cached_tokens=3", {"service_tier": "flex"}),
    "flex of the o-series": Ask("o4-mini", "cached_tokens=9", {"service_tier": "flex"}),
    "priority": Ask("gpt-4o", "cached_tokens=3", {"service_tier": "priority"}),
    "priority fell back": Ask("gpt-4.1", "tier=default", {"service_tier": "priority"}),
    "priority unasked": Ask("gpt-4.1-mini", "tier=priority,cached_tokens=3"),
    "tools": Ask("gpt-4o", "tool_calls=3", {"tools": [WEATHER], "tool_choice": "auto"}),
    "a snapshot": Ask("gpt-4o-2024-08-06"),
    "own prices": Ask("sim-default", "prompt_tokens=12345,cached_tokens=11111"),
}


async def billed(run: Running) -> list[tuple[Row, Row]]:
    """Each call's row beside the provider's line, in the words of both."""
    rows, lines = await run.calls(), await run.invoice()
    assert len(rows) == len(lines)
    assert {row["usage_source"] for row in rows} == {"provider"}
    return [(as_billed(r), as_invoiced(line)) for r, line in zip(rows, lines, strict=True)]


async def chunks(stream: AsyncIterator[Any]) -> list[dict[str, Any]]:
    return [chunk.model_dump() async for chunk in stream]


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
async def test_the_sdk_gets_through_farebox_what_it_gets_without_it(run: Running, ask: Ask) -> None:
    """Whole, streamed and streamed with usage: the same objects; and each row is the provider's line."""
    arguments = ask.arguments()
    usage: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    async with run.sdk() as here, run.direct_sdk() as there:
        whole = await here.chat.completions.create(**arguments)
        streamed = await chunks(await here.chat.completions.create(**arguments, stream=True))
        with_usage = await chunks(await here.chat.completions.create(**arguments, **usage))
        rows = await billed(run)
        assert whole.model_dump() == (await there.chat.completions.create(**arguments)).model_dump()
        assert streamed == await chunks(
            await there.chat.completions.create(**arguments, stream=True)
        )
        assert with_usage == await chunks(await there.chat.completions.create(**arguments, **usage))
    assert [row for row, _ in rows] == [line for _, line in rows]
    assert len(rows) == 3
    assert await run.settled_cleanly() == sum(line["nano"] for _, line in rows)


async def test_a_stream_has_usage_only_where_the_client_asked(run: Running) -> None:
    """The usage that Farebox asks for is not shown to a client that did not ask for it."""
    async with run.sdk() as sdk:
        arguments = Ask().arguments()
        unasked = await chunks(await sdk.chat.completions.create(**arguments, stream=True))
        options: Any = {"include_usage": True}
        asked = await chunks(
            await sdk.chat.completions.create(**arguments, stream=True, stream_options=options)
        )
    assert {chunk["usage"] for chunk in unasked} == {None}
    assert all(len(chunk["choices"]) == 1 for chunk in unasked)
    assert asked[-1]["choices"] == []
    row, line = (await billed(run))[1]
    assert asked[-1]["usage"]["prompt_tokens"] == row["input"] == line["input"]
    assert asked[-1]["usage"]["completion_tokens"] == row["output"]


async def test_the_synchronous_sdk(run: Running) -> None:
    """Blocking code in a thread gets the same, streamed and not."""
    arguments = Ask(controls="output_tokens=40").arguments()

    def talk(base_url: str, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        with openai.OpenAI(base_url=f"{base_url}/v1", api_key=key) as sdk:
            whole = sdk.chat.completions.create(**arguments).model_dump()
            stream = sdk.chat.completions.create(**arguments, stream=True)
            return whole, [chunk.model_dump() for chunk in stream]

    here = await asyncio.to_thread(talk, run.url, KEY)
    rows = await billed(run)
    there = await asyncio.to_thread(talk, run.upstream, "sk-simulated")
    assert here == there
    assert [row for row, _ in rows] == [line for _, line in rows]


async def test_structured_outputs_are_parsed(run: Running) -> None:
    """``parse`` gives the caller its own model, filled in; the schema is billed as the provider does."""
    arguments = Ask("gpt-4o", "reasoning_tokens=0").arguments()
    async with run.sdk() as here, run.direct_sdk() as there:
        parsed = await here.chat.completions.parse(**arguments, response_format=Journey)
        (row, line) = (await billed(run))[0]
        direct = await there.chat.completions.parse(**arguments, response_format=Journey)
    message = parsed.choices[0].message
    assert isinstance(message.parsed, Journey)
    assert message.parsed == direct.choices[0].message.parsed
    assert message.content == direct.choices[0].message.content
    assert parsed.usage == direct.usage
    assert row == line


async def test_the_stream_helper_assembles_tool_calls(run: Running) -> None:
    """The SDK's own stream accumulator comes to the same final answer, tool calls parsed."""
    arguments = Ask("gpt-4o", "tool_calls=2").arguments() | {"tools": [WEATHER]}
    finals = []
    async with run.sdk() as here, run.direct_sdk() as there:
        for sdk in (here, there):
            async with sdk.chat.completions.stream(**arguments) as stream:
                finals.append(await stream.get_final_completion())
    calls = finals[0].choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert finals[0].model_dump() == finals[1].model_dump()


async def test_the_cost_of_a_whole_answer_is_in_its_headers(run: Running) -> None:
    """Cost, tokens, cap and the call's id are said to the client with the answer itself."""
    async with run.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(
            **Ask(controls="output_tokens=33", extra={"max_tokens": 40}).arguments()
        )
    row = (await run.calls())[0]
    assert raw.headers["x-farebox-call-id"] == row["id"]
    assert raw.headers["x-farebox-cost-usd"] == row["cost_usd"]
    assert raw.headers["x-farebox-input-tokens"] == str(row["input_tokens"])
    assert raw.headers["x-farebox-output-tokens"] == "33"
    assert raw.headers["x-farebox-output-cap"] == "40; source=client"
    assert raw.headers["x-simulated"] == "true"
    assert raw.headers.get_list("x-request-id") == [raw.headers["x-request-id"]]


async def test_an_upstreams_error_is_the_sdks_own_exception(run: Running) -> None:
    """An error of the provider raises what it raises without Farebox, with the provider's words."""
    arguments = Ask(controls="status=404,error_code=model_gone").arguments()
    caught = []
    async with run.sdk() as here, run.direct_sdk() as there:
        for sdk in (here, there):
            with pytest.raises(openai.NotFoundError) as error:
                await sdk.chat.completions.create(**arguments)
            caught.append((error.value.code, error.value.message, error.value.body))
    assert caught[0] == caught[1]
    assert caught[0][0] == "model_gone"


async def test_concurrent_calls_keep_apart(run: Running) -> None:
    """Fifty calls at once, streamed and not: each gets its own answer and its own row."""
    async with run.sdk() as sdk:

        async def one(number: int) -> tuple[str, int]:
            arguments = Ask(controls=f"output_tokens={number + 5}").arguments()
            arguments["messages"][0]["content"] += f" Ticket {number}."
            if number % 2:
                whole = await sdk.chat.completions.create(**arguments)
                return whole.id, len((whole.choices[0].message.content or "").split())
            stream = await sdk.chat.completions.create(**arguments, stream=True)
            pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            return "chatcmpl-fixed", len("".join(pieces).split())

        answers = await asyncio.gather(*(one(number) for number in range(50)))
    assert [words for _, words in answers] == [number + 5 for number in range(50)]
    rows = await run.calls()
    assert sorted(row["output_tokens"] for row in rows) == [number + 5 for number in range(50)]
    lines = await run.invoice()
    assert await run.settled_cleanly() == sum(line["cost_nano"] for line in lines)
