"""OpenAI's other endpoints by its own SDK: the same answer as without Farebox, and the provider's bill."""

from typing import Any

import openai
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import Row, Running, as_billed, as_invoiced, eventually, nano


async def both(run: Running, resource: str, method: str, **arguments: Any) -> tuple[Any, Any]:
    """What the SDK gets through Farebox, and what it gets directly."""
    answers = []
    async with run.sdk() as here, run.direct_sdk() as there:
        for sdk in (here, there):
            called: Any = sdk
            for name in resource.split("."):
                called = getattr(called, name)
            answers.append(await getattr(called, method)(**arguments))
    return answers[0], answers[1]


async def billed(run: Running) -> tuple[Row, Row]:
    """The one call's row, and the provider's line for it."""
    row = await run.only_call()
    return row, (await run.invoice())[0]


async def test_embeddings(run: Running) -> None:
    mine, theirs = await both(
        run, "embeddings", "create", model="text-embedding-3-small", input="water river"
    )
    row, line = await billed(run)

    assert mine == theirs
    assert (row["endpoint"], row["usage_source"]) == ("embeddings", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (line["prompt_tokens"], 0)
    assert nano(row["cost_usd"]) == line["cost_nano"] > 0
    assert await run.settled_cleanly() == line["cost_nano"]


ASKED: dict[str, Any] = {
    "model": "gpt-4.1",
    "input": "Which line goes to the harbour? [[sim: id=fixed,cached_tokens=4,prompt_tokens=40]]",
}


async def test_responses(run: Running) -> None:
    mine, theirs = await both(run, "responses", "create", **ASKED)
    row, line = await billed(run)

    assert mine == theirs
    assert mine.output_text
    assert row["endpoint"] == "responses"
    assert as_billed(row) == as_invoiced(line)
    assert await run.settled_cleanly() == line["cost_nano"]


async def test_a_stream_of_responses(run: Running) -> None:
    streams = []
    async with run.sdk() as here, run.direct_sdk() as there:
        for sdk in (here, there):
            stream = await sdk.responses.create(**ASKED, stream=True, max_output_tokens=16)
            streams.append([event async for event in stream])
    row, line = await billed(run)

    assert streams[0] == streams[1]
    assert streams[0][-1].type == "response.incomplete"
    assert (row["stream"], row["output_cap"]) == (True, 16)
    assert as_billed(row) == as_invoiced(line)


async def test_a_response_in_the_background_is_billed_once(run: Running) -> None:
    """When it is over, whether or not anybody comes back for it; asking for it costs nothing."""
    async with run.sdk() as sdk:
        begun = await sdk.responses.create(**ASKED, background=True)
        assert begun.status == "queued"
        assert (await run.budget())["held_usd"] != "0.00"
        assert await run.calls() == []

        async def settled() -> list[Row]:
            return [row for row in await run.calls() if row["endpoint"] == "responses"]

        rows = await eventually(settled)
        line = (await run.invoice())[0]
        assert [as_billed(row) for row in rows] == [as_invoiced(line)]
        ended = await sdk.responses.retrieve(begun.id)
    assert ended.status == "completed"
    await run.is_idle()
    assert await run.settled_cleanly() == line["cost_nano"]


async def test_pictures_by_tokens_and_by_the_piece(run: Running) -> None:
    for asked in (
        {"model": "gpt-image-1", "prompt": "a cat", "quality": "low"},
        {"model": "dall-e-3", "prompt": "a cat", "n": 1, "size": "1024x1024"},
    ):
        mine, theirs = await both(run, "images", "generate", **asked)
        assert mine == theirs
    await run.is_idle()
    rows = await run.calls()
    lines = [line for line in await run.invoice() if line["status"] == 200]

    assert [row["usage_source"] for row in rows] == ["provider", "counted"]
    assert [nano(row["cost_usd"]) for row in rows] == [line["cost_nano"] for line in lines[::2]]


async def test_speech_and_its_transcript(run: Running) -> None:
    """Characters are billed of the one, seconds of the other; the bytes are the provider's."""
    async with run.sdk() as here, run.direct_sdk() as there:
        spoken = [
            (await sdk.audio.speech.create(model="tts-1", voice="alloy", input="x" * 100)).content
            for sdk in (here, there)
        ]
        heard: Any = [
            await sdk.audio.transcriptions.create(
                model="whisper-1", file=("a.wav", spoken[0]), response_format=form
            )
            for form in ("json", "text")
            for sdk in (here, there)
        ]
    await run.is_idle()
    rows, lines = await run.calls(), await run.invoice()

    assert spoken[0] == spoken[1]
    assert heard[0] == heard[1]
    assert heard[2] == heard[3]
    assert [row["usage_source"] for row in rows] == ["counted", "provider", "counted"]
    assert [nano(row["cost_usd"]) for row in rows] == [line["cost_nano"] for line in lines[::2]]
    assert await run.verify() == []


async def test_a_form_goes_on_as_it_came_and_is_renamed(start: Start) -> None:
    models = [
        {"name": "ears", "targets": ["sim/whisper-1"]},
        {"match": "*", "upstream": "sim"},
    ]
    async with start(models=models) as run, run.sdk() as sdk:
        sound = (await sdk.audio.speech.create(model="tts-1", voice="a", input="x" * 700)).content
        text = await sdk.audio.transcriptions.create(model="ears", file=("a.wav", sound))
        await run.is_idle()
        row = (await run.calls())[-1]

    assert text.text == "Simulated words."
    assert (row["model_requested"], nano(row["cost_usd"])) == ("ears", 7_000_000)


async def test_a_budget_refuses_what_does_not_fit(start: Start) -> None:
    """Pictures, characters, and what can't be bounded."""
    teams = [{"name": "search", "budgets": [{"limit_usd": "0.01", "window": "month"}]}]
    async with start(teams=teams) as run, run.sdk(max_retries=0) as sdk:
        for asking in (
            sdk.images.generate(model="dall-e-3", prompt="x"),
            sdk.images.generate(model="gpt-image-1", prompt="x"),
            sdk.audio.speech.create(model="tts-1", voice="a", input="x" * 1000),
            sdk.responses.create(**ASKED, previous_response_id="resp_0"),
        ):
            with pytest.raises(openai.APIStatusError) as refused:
                await asking
            assert refused.value.status_code in {400, 402, 403, 429}
        assert await run.invoice() == []
        assert await run.settled_cleanly() == 0


async def test_moderations_are_free(run: Running) -> None:
    mine, theirs = await both(run, "moderations", "create", input="x")
    row = await run.only_call()

    assert mine == theirs
    assert (row["endpoint"], row["cost_usd"], row["usage_source"]) == (
        "moderations",
        "0.00",
        "none",
    )
