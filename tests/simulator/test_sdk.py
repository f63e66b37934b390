"""The official SDK takes the simulator for the real API."""

import asyncio
import math

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from proxy.simulator import API_KEY
from tests.simulator.provider import Provider

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


class Step(BaseModel):
    """A part of a structured answer."""

    explanation: str
    done: bool


class Plan(BaseModel):
    """A structured answer."""

    title: str
    steps: list[Step]
    score: float | None


PLAN = Plan(title="simulated", steps=[Step(explanation="simulated", done=True)], score=7.5)


def asking(marker: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"[[sim: {marker}]]"}]


async def test_create(sdk: AsyncOpenAI, provider: Provider) -> None:
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert answer.usage is not None
    assert provider.line.completion_id == answer.id
    assert provider.line.completion_tokens == answer.usage.completion_tokens
    assert provider.line.request_id == answer._request_id


async def test_sync_client(provider: Provider) -> None:
    def blocking() -> tuple[str, list[str]]:
        with OpenAI(base_url=f"{provider.address}/v1", api_key=API_KEY) as client:
            whole = client.chat.completions.create(model="gpt-4o", messages=HELLO)
            stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            text = [chunk.choices[0].delta.content or "" for chunk in stream]
        return whole.choices[0].message.content or "", text

    whole, streamed = await asyncio.to_thread(blocking)

    assert whole == "".join(streamed)
    assert len({line.completion_id for line in provider.app.invoice.lines}) == 2


async def test_stream_with_usage(sdk: AsyncOpenAI, provider: Provider) -> None:
    stream = await sdk.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    *said, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert provider.line.completion_tokens == last.usage.completion_tokens
    assert len(said) - 2 == last.usage.completion_tokens  # a role, and an end
    assert said[-1].choices[0].finish_reason == "stop"


async def test_parse(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Plan)

    assert answer.choices[0].message.parsed == PLAN


async def test_parse_streamed(sdk: AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model="gpt-4o", messages=HELLO, response_format=Plan
    ) as stream:
        answer = await stream.get_final_completion()

    assert answer.choices[0].message.parsed == PLAN


async def test_an_object_that_is_cut_by_the_cap(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        await sdk.chat.completions.parse(
            model="gpt-4o", messages=HELLO, response_format=Plan, max_tokens=3
        )


async def test_tools(sdk: AsyncOpenAI, provider: Provider) -> None:
    answer = await sdk.chat.completions.create(
        model="gpt-4o", messages=asking("tool_calls=2"), tools=[WEATHER]
    )

    choice = answer.choices[0]
    calls = [call for call in choice.message.tool_calls or [] if call.type == "function"]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert [(call.function.name, call.function.arguments) for call in calls] == 2 * [
        ("weather", '{"city":"simulated","days":7}')
    ]
    assert len({call.id for call in calls}) == 2
    assert answer.usage is not None
    assert provider.line.completion_tokens == answer.usage.completion_tokens > 0


@pytest.mark.parametrize("choice", ["required", "named"])
async def test_tools_streamed(sdk: AsyncOpenAI, provider: Provider, choice: str) -> None:
    async with sdk.chat.completions.stream(
        model="gpt-4o",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice="required"
        if choice == "required"
        else {"type": "function", "function": {"name": "weather"}},
    ) as stream:
        answer = await stream.get_final_completion()

    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city":"simulated","days":7}']
    assert provider.line.completion_tokens > 0


async def test_tools_are_not_called_unasked(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[WEATHER])

    assert answer.choices[0].message.tool_calls is None


async def test_embeddings(sdk: AsyncOpenAI) -> None:
    """The SDK asks for base64; numbers give the same vectors, of length one."""
    by_default = await sdk.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], dimensions=64
    )
    as_numbers = await sdk.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], dimensions=64, encoding_format="float"
    )

    vectors = [item.embedding for item in by_default.data]
    assert [len(vector) for vector in vectors] == [64, 64]
    assert vectors[0] != vectors[1]
    assert vectors == [pytest.approx(item.embedding) for item in as_numbers.data]
    assert pytest.approx(math.hypot(*vectors[0]), rel=1e-5) == 1


async def test_models(sdk: AsyncOpenAI) -> None:
    names = [model.id async for model in sdk.models.list()]
    one = await sdk.models.retrieve("gpt-4.1")

    assert {"gpt-4o", "gpt-5", "text-embedding-3-small", "sim-no-usage"} < set(names)
    assert one.id == "gpt-4.1"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (502, openai.InternalServerError),
        (503, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
async def test_errors(sdk: AsyncOpenAI, status: int, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error) as raised:
        await sdk.chat.completions.create(model="gpt-4o", messages=asking(f"status={status}"))

    assert status == raised.value.status_code
    assert raised.value.response.headers["x-simulated"] == "true"


async def test_an_error_inside_a_stream(sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="gpt-4o", messages=asking("malformed=error"), stream=True
    )

    with pytest.raises(openai.APIError, match="Sorry about that"):
        async for _ in stream:
            pass
