"""Realtime sessions: every frame passes unchanged, and each response is a row with its price."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.realtime.conftest import Begin, Both, eventually, limited, until
from tests.e2e.realtime.provider import Provider
from tests.e2e.running import KEY, SIMULATED, nano

# 100 text, 400 audio, cached: 200 text and 300 audio; out: 50 text, 200 audio, at gpt-realtime's prices.
PRICE = 100 * 4_000 + 400 * 32_000 + 500 * 400 + 50 * 16_000 + 200 * 64_000
CREATE = json.dumps({"type": "response.create"})


async def test_a_response_is_a_row_with_its_usage_and_price(begin: Begin) -> None:
    async with begin() as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            await socket.send(CREATE)
            await until(socket, "response.done")

        (row,) = await both.rows()
        assert (row["model_served"], row["usage_source"]) == ("gpt-realtime", "provider")
        assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (1000, 500, 250)
        assert (nano(row["cost_usd"]), row["outcome"]) == (PRICE, "completed")
        assert row["upstream_call_id"].startswith("resp_")
        assert await both.clean() == PRICE


async def test_frames_pass_unchanged_both_ways(begin: Begin) -> None:
    """Text, sound, binary, and what is no event at all."""
    sent: list[str | bytes] = [
        '{"type": "input_audio_buffer.append",  "audio": "' + "A" * 2_000_000 + '"}',
        '{"type":"conversation.item.create","item":{"x":"\\u00e9 \u20ac"}}',
        b"\x00\xff binary",
        CREATE,
    ]
    async with begin() as both, both.connect() as socket:
        got: list[str | bytes] = [await socket.recv()]
        for frame in sent:
            await socket.send(frame)
        while len(got) < 10:
            got.append(await socket.recv())

        assert sent == both.provider.heard
        assert both.provider.said == got


async def test_the_rows_of_a_session_are_one_run(begin: Begin) -> None:
    """Named by the call id of the handshake, which is the first response's; the session has a row too."""
    async with begin() as both:
        async with both.connect() as socket:
            assert socket.response is not None
            first = socket.response.headers["x-farebox-call-id"]
            for _ in range(2):
                await socket.send(CREATE)
                await until(socket, "response.done")

        rows = await both.rows()
        (session,) = await both.rows("realtime.session")
        assert [row["run"] for row in (*rows, session)] == [first] * 3
        assert rows[0]["id"] == first
        assert (session["cost_usd"], session["status"], session["attempts"]) == ("0.00", 101, 0)
        assert await both.clean() == 2 * PRICE


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "whisper-1"])
async def test_a_transcription_is_billed_apart(begin: Begin, model: str) -> None:
    """At the price of the model that transcribes: by tokens, or by the length of the sound."""
    async with begin(Provider(transcribes=model)) as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
            await until(socket, "conversation.item.input_audio_transcription.completed")

        row = next(r for r in await both.rows("realtime.transcription") if r["attempts"])
        price = 10 * 2_500 + 90 * 6_000 + 20 * 10_000 if model != "whisper-1" else 1_250_000
        assert (row["model_served"], nano(row["cost_usd"])) == (model, price)
        assert await both.clean() == price


async def test_a_browser_shows_its_key_in_a_subprotocol(begin: Begin) -> None:
    """It goes no further; the other subprotocols do, and the provider chooses."""
    offered: Any = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
    async with begin() as both:
        async with both.connect(key="", subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"

        (request,) = both.provider.requests
        shown = request.headers["sec-websocket-protocol"]
        assert shown == "realtime, openai-beta.realtime-v1"
        assert request.headers["authorization"] == f"Bearer {SIMULATED}"
        assert KEY not in str(request.headers)


async def test_the_upstream_gets_its_own_name_for_the_model(begin: Begin) -> None:
    models = [{"name": "voice", "targets": ["sim/gpt-realtime"]}]
    async with begin(models=models) as both:
        async with both.connect("voice&x=1") as socket:
            await socket.send(CREATE)
            await until(socket, "response.done")

        (row,) = await both.rows()
        assert both.provider.requests[0].path == "/v1/realtime?model=gpt-realtime&x=1"
        assert (row["model_requested"], nano(row["cost_usd"])) == ("voice", PRICE)


REFUSED = [
    ("wrong key", {"key": "wrong"}, {}, 401, "invalid_api_key"),
    ("no rule", {}, {"models": [{"match": "x", "upstream": "sim"}]}, 404, "model_not_found"),
    ("budget", {}, limited("0.01"), 429, "budget_exceeded"),
    ("unpriced", {"model": "nobody-knows"}, {}, 400, "model_not_priced"),
    ("not allowed", {}, {"teams": [{"name": "search", "models": ["gpt-4o"]}, {"name": "other"}]},
     403, "model_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "changes", "status", "code"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
async def test_a_refusal_is_a_plain_answer_before_the_upgrade(
    begin: Begin, asked: dict[str, Any], changes: dict[str, Any], status: int, code: str
) -> None:
    async with begin(**changes) as both:
        with pytest.raises(InvalidStatus) as refused:
            await both.connect(**asked)

        answer = refused.value.response
        assert (answer.status_code, json.loads(answer.body or b"")["error"]["code"]) == (
            status,
            code,
        )
        assert both.provider.requests == []
        assert await both.run.verify() == []


async def test_what_the_upstream_answers_instead_is_the_answer(begin: Begin) -> None:
    async with begin(Provider(refuses=HTTPStatus.NOT_FOUND)) as both:
        with pytest.raises(InvalidStatus) as refused:
            await both.connect()

        answer = refused.value.response
        assert (answer.status_code, answer.headers["x-request-id"]) == (404, "req_1")
        assert json.loads(answer.body or b"")["error"]["message"] == "no such model"
        (row,) = await both.rows()
        assert (row["status"], row["cost_usd"]) == (404, "0.00")
        assert await both.clean() == 0


async def test_an_upstream_that_is_not_there_is_502(begin: Begin) -> None:
    upstream = {"base_url": "http://127.0.0.1:1/v1"}
    async with begin(sim=upstream) as both:
        with pytest.raises(InvalidStatus) as refused:
            await both.connect()

        assert refused.value.response.status_code == 502
        (row,) = await both.rows()
        assert (row["outcome"], row["refusal"]) == ("upstream_failed", "upstream_unreachable")
        assert await both.clean() == 0


async def test_a_plain_request_stays_one(begin: Begin) -> None:
    """Without an upgrade the path is passed through like any other."""
    async with begin() as both:
        answer = await both.run.client.get(
            "/v1/realtime?model=gpt-realtime", headers={"authorization": f"Bearer {KEY}"}
        )

        assert isinstance(answer, httpx.Response)
        assert answer.status_code in {400, 426}  # the provider's word


async def test_close_codes_pass(begin: Begin) -> None:
    async with begin() as both:
        async with both.connect() as socket:
            await until(socket, "session.created")
            await both.provider.sockets[0].close(4321, "enough")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "enough")

        async with both.connect() as socket:
            await until(socket, "session.created")
            await socket.close(3001, "bye")
        await _closed(both, 2)
        assert both.provider.closed[1] == (3001, "bye")


async def test_many_sessions_at_once(begin: Begin) -> None:
    async def talk(both: Both) -> None:
        async with both.connect() as socket:
            for _ in range(2):
                await socket.send(CREATE)
                await until(socket, "response.done")

    async with begin(**limited("1000")) as both:
        await asyncio.gather(*(talk(both) for _ in range(12)))

        assert len(await both.rows()) == 24
        assert await both.clean() == 24 * PRICE


async def _closed(both: Both, sessions: int) -> None:
    """Wait until the provider saw so many sessions end."""

    async def all_closed() -> bool:
        return len(both.provider.closed) >= sessions

    await eventually(all_closed)
