"""Where the provider reports no usage, Farebox counts; and what it asks for beside the client's wishes."""

from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, Running, as_billed, as_invoiced, bearer, chat_body

# Each word of it is one token in the models' own vocabulary, and in the simulator's.
WORDS = "water river morning light garden letter window paper bridge answer number history market"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        "sim-no-usage+output-tokens-40",
        "sim-no-usage+output-tokens-40+choices-3",
        "sim-no-usage+output-tokens-5000",
        "sim-no-usage+output-tokens-40+split-1",
        "sim-no-usage+output-tokens-40+split-char",
        "sim-no-usage+output-tokens-40+event-ms-1",
        "sim-usage-zero-all+output-tokens-40",
    ],
)
async def test_what_is_not_reported_is_counted(run: Running, model: str, stream: bool) -> None:
    """From the request and the bytes relayed: to the token what the provider bills; marked as counted."""
    answer = await run.chat(WORDS, model=model, stream=stream)
    assert answer.status_code == 200
    row, line = await run.only_call(), (await run.invoice())[0]
    assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert row["usage_source"] == "counted"


async def test_the_cost_of_a_counted_answer_is_in_its_headers_too(run: Running) -> None:
    """What is not streamed is counted before its head is sent."""
    answer = await run.chat(WORDS, model="sim-no-usage+output-tokens-40")
    assert answer.headers["x-farebox-output-tokens"] == "40"
    assert answer.headers["x-farebox-cost-usd"] == (await run.only_call())["cost_usd"]


async def test_tool_calls_are_counted(run: Running) -> None:
    """Names and arguments of tool calls are output, too."""
    body: Config = {"tools": [WEATHER], "stream": True}
    await run.chat(WORDS, model="sim-no-usage+tool-calls-2", **body)
    row, line = await run.only_call(), (await run.invoice())[0]
    assert row["usage_source"] == "counted"
    assert row["output_tokens"] == line["completion_tokens"]


async def test_a_long_conversation_is_counted(run: Running) -> None:
    """Every message counts, with what wraps it; a text of 200 kB is counted as well."""
    said = " ".join([WORDS] * 2000)
    messages = [
        {"role": role, "content": text}
        for role, text in (("system", WORDS), ("user", said), ("assistant", WORDS), ("user", WORDS))
    ]
    await run.chat(model="sim-no-usage", messages=messages)
    row, line = await run.only_call(), (await run.invoice())[0]
    assert as_billed(row) == as_invoiced(line)
    assert row["input_tokens"] > 26_000


@pytest.mark.parametrize(
    "model", ["sim-event-ms-0", "sim-usage-on-finish-chunk", "sim-usage-zero-chunks"]
)
@pytest.mark.parametrize("asked", [False, True])
async def test_the_last_usage_wins(run: Running, model: str, asked: bool) -> None:
    """Wherever the provider puts it, and whatever zeros it sends before."""
    options: Config = {"stream_options": {"include_usage": True}} if asked else {}
    await run.chat(WORDS, model=model + "+output-tokens-40", stream=True, **options)
    row, line = await run.only_call(), (await run.invoice())[0]
    assert as_billed(row) == as_invoiced(line)
    assert row["usage_source"] == "provider"


# What Farebox asks for...


async def test_usage_is_asked_for_by_splicing(run: Running) -> None:
    """Only the one field is added; every other byte of the body goes on as it came."""
    body = b'{ "messages":[{"role":"user","content":"caf\\u00e9 \xc3\xa9"}],\n "stream":true , "model":"gpt-4o","x":1.0}'
    answer = await run.client.post("/v1/chat/completions", content=body, headers=bearer(KEY))
    assert answer.status_code == 200
    assert run.heard.raw == [body[:-1] + b',"stream_options":{"include_usage":true}}']


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
        ({"include_usage": True}, {"include_usage": True}),
    ],
)
async def test_other_stream_options_are_kept(run: Running, options: Any, sent: Any) -> None:
    """``include_usage`` is added to what the client asked for."""
    body = {} if options is None else {"stream_options": options}
    await run.chat(stream=True, **body)
    assert run.heard.bodies[0]["stream_options"] == sent


async def test_whole_answers_have_it_unasked(run: Running) -> None:
    """Nothing is added to a request that is not streamed."""
    await run.chat("Hello")
    assert run.heard.bodies == [chat_body("Hello")]


REFUSING = "sim-reject-stream-options+id-fixed+output-tokens-9"


async def test_an_upstream_that_refuses_the_option_is_asked_without(run: Running) -> None:
    """The client never sees the refusal; both requests are rows, and the answer is counted."""
    answer = await run.chat(WORDS, model=REFUSING, stream=True)
    row = await run.only_call()
    first, second = await run.attempts(row["id"])
    lines = await run.invoice()
    assert await run.settled_cleanly() == sum(line["cost_nano"] for line in lines)
    async with run.direct_sdk() as sdk:
        direct = await sdk.chat.completions.with_raw_response.create(
            **chat_body(WORDS, model=REFUSING), stream=True
        )
        text = direct.http_response.aiter_bytes()
        assert answer.content == b"".join([piece async for piece in text])
    assert [("stream_options" in body) for body in run.heard.bodies[:2]] == [True, False]
    assert (first["number"], first["status"], first["error"]) == (1, 400, "stream_options_refused")
    assert (second["number"], second["status"], second["error"]) == (2, 200, "")
    assert (row["attempts"], row["status"], row["usage_source"]) == (2, 200, "counted")
    assert as_billed(row) == as_invoiced(lines[-1])


async def test_the_refusal_is_remembered(run: Running) -> None:
    """The next call to this upstream and model is sent without at once; another model is still asked."""
    for model in (REFUSING, REFUSING, "sim-default"):
        await run.chat(WORDS, model=model, stream=True)
    asked = ["stream_options" in body for body in run.heard.bodies]
    assert asked == [True, False, False, True]
    assert [row["attempts"] for row in await run.calls()] == [2, 1, 1]


async def test_a_client_that_asks_for_it_itself_gets_the_refusal(run: Running) -> None:
    """Its own option is its own business."""
    options: Config = {"stream_options": {"include_usage": True}}
    answer = await run.chat(WORDS, model=REFUSING, stream=True, **options)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "stream_options"
    assert (await run.only_call())["attempts"] == 1


async def test_another_error_is_not_taken_for_it(run: Running) -> None:
    """A 400 about something else passes, and nothing is sent again."""
    answer = await run.chat(WORDS, model="sim-status-400", stream=True)
    assert answer.status_code == 400
    assert run.heard.requests == 1


async def test_an_upstream_that_is_known_not_to_take_it_is_not_asked(start: Start) -> None:
    """``include_usage: false``: nothing is added, and the stream is counted."""
    async with start(sim={"include_usage": False}) as run:
        await run.chat(WORDS, model="sim-output-tokens-9", stream=True)
        row, line = await run.only_call(), (await run.invoice())[0]
    assert "stream_options" not in run.heard.bodies[0]
    assert as_billed(row) == as_invoiced(line)
    assert row["usage_source"] == "counted"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_call_of_a_process_is_counted_too(run: Running, stream: bool) -> None:
    """Its vocabulary is not loaded yet: what is billed waits for it, and is no estimate."""
    prompt = "water river " * 50 + "[[sim: no_usage, output_tokens=25]]"
    await run.chat(prompt, stream=stream, max_completion_tokens=30)
    row = await run.only_call()

    assert (row["output_tokens"], row["usage_source"]) == (25, "counted")
