"""A session under a blocking budget: held in steps, and ended before it could overrun it."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.realtime.conftest import Begin, Both, EndedError, eventually, limited, until
from tests.e2e.realtime.provider import Provider
from tests.e2e.realtime.test_sessions import CREATE, PRICE
from tests.e2e.running import nano

# 32,000 tokens of sound in, 4,096 out: what one response can cost.
BOUND = 32_000 * 32_000 + 4_096 * 64_000


def _usd(nano_: int) -> str:
    return f"{nano_ / 1e9:.9f}"


async def test_a_response_is_held_before_it_can_be_made(begin: Begin) -> None:
    """By the model's context and its longest answer, at the dearest price; nothing stays held."""
    async with begin(**limited("100")) as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            budget = await both.run.budget()
            assert nano(budget["held_usd"]) == BOUND
            await socket.send(CREATE)
            await until(socket, "response.done")

        assert await both.clean() == PRICE


async def test_a_budget_that_refuses_ends_the_session(begin: Begin) -> None:
    """An error event in OpenAI's shape, then 1008; what the client sends meanwhile goes nowhere."""
    async with begin(**limited(_usd(BOUND + PRICE // 2))) as both:
        async with both.connect() as socket:
            await socket.send(CREATE)
            frames = await until(socket, "error")
            await socket.send(json.dumps({"type": "too.late"}))
            with pytest.raises(ConnectionClosed) as closed:
                await until(socket, "never")

        error = json.loads(frames[-1])["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
        assert "team:search:month" in error["message"]
        assert any('"response.done"' in frame for frame in frames)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "budget_exceeded")
        assert both.provider.heard_kinds() == ["response.create"]
        assert await both.clean() == PRICE
        assert (await both.run.budget())["overdraft_usd"] == "0.00"


async def test_a_session_goes_on_as_long_as_its_own_hold_is_in_the_way(begin: Begin) -> None:
    """Where one response at a time fits, the next frame waits for the end of the last response."""
    async with begin(**limited(_usd(BOUND + 3 * PRICE))) as both:
        async with both.connect() as socket:
            for _ in range(3):
                await socket.send(CREATE)
                await until(socket, "response.done")

        assert await both.clean() == 3 * PRICE
        assert (await both.run.budget())["overdraft_usd"] == "0.00"


async def test_sessions_at_once_never_overrun_a_budget(begin: Begin) -> None:
    """Each is served or refused; spent and held stay within the limit."""
    limit = 2 * BOUND + 4 * PRICE

    async def talk(both: Both) -> None:
        try:
            async with both.connect() as socket:
                for _ in range(3):
                    await socket.send(CREATE)
                    await until(socket, "response.done")
        except (ConnectionClosed, InvalidStatus, EndedError):
            return  # refused

    async with begin(**limited(_usd(limit))) as both:
        await asyncio.gather(*(talk(both) for _ in range(6)))

        spent = await both.clean()
        assert 0 < spent <= limit
        served = [row for row in await both.rows() if row["attempts"]]
        assert spent == len(served) * PRICE
        assert (await both.run.budget())["overdraft_usd"] == "0.00"


async def test_a_response_beside_the_conversation_has_a_hold_of_its_own(begin: Begin) -> None:
    create = json.dumps({"type": "response.create", "response": {"conversation": "none"}})
    async with begin(Provider(holds_back=True), **limited("100")) as both:
        async with both.connect() as socket:
            await socket.send(create)
            await socket.send(create)
            await until(socket, "response.created")
            await until(socket, "response.created")
            await eventually(lambda: _holds(both, 3))
            both.provider.go.set()
            await until(socket, "response.done")
            await until(socket, "response.done")

        assert await both.clean() == 2 * PRICE


async def test_a_transcription_has_a_hold_of_its_own(begin: Begin) -> None:
    """From when the client asks for it, at the price of the model that transcribes."""
    update = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    async with begin(**limited("100")) as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            await socket.send(json.dumps({"type": "session.update", "session": update}))
            sound = 32_000 * 6_000 + 32_000 * 10_000
            await eventually(lambda: _held(both, BOUND + sound))

        assert await both.clean() == 0


async def test_a_model_that_the_team_may_not_use_does_not_transcribe(begin: Begin) -> None:
    teams = [{"name": "search", "models": ["gpt-realtime"]}, {"name": "other"}]
    update = {"input_audio_transcription": {"model": "whisper-1"}}
    async with begin(teams=teams) as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            await socket.send(json.dumps({"type": "session.update", "session": update}))
            (*_, said) = await until(socket, "error")

        assert json.loads(said)["error"]["code"] == "model_not_allowed"
        assert both.provider.heard == []


async def _held(both: Both, nano_: int) -> bool:
    budget: dict[str, Any] = await both.run.budget()
    return nano(budget["held_usd"]) == nano_


async def _holds(both: Both, count: int) -> bool:
    return await _held(both, count * BOUND)
