"""An upstream that fails: the client sees what it did, and the row says what it cost."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import (
    KEY,
    SIMULATED,
    Running,
    as_billed,
    as_invoiced,
    bearer,
    chat_body,
    nano,
)
from tests.e2e.wire import Answer, ask, message

WORDS = "water river morning light"


async def exact(run: Running, model: str, *, direct: bool = False, **body: Any) -> Answer:
    """The answer as its bytes, by Farebox or by the simulator itself."""
    key, url = (SIMULATED, run.upstream) if direct else (KEY, run.url)
    data = orjson.dumps(chat_body(WORDS, model=model, **body))
    return await ask(url, message(headers=list(bearer(key).items()), body=data))


def upstreams_own(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The headers of an answer without those that change from one to the next, or are ours."""
    varying = (b"date", b"x-request-id", b"openai-processing-ms", b"x-farebox-")
    return [(n, v) for n, v in answer.headers if not n.startswith(varying)]


# In the middle of an answer...


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("events", [1, 6])
async def test_a_stream_that_dies_breaks_the_clients_too(
    run: Running, how: str, events: int
) -> None:
    """The client's connection breaks where the upstream's did, and does not seem to end."""
    model = f"sim-id-fixed+split-event+output-tokens-9+die-{how}+die-after-events-{events}"
    answer = await exact(run, model, stream=True)
    row = await run.only_call()
    (attempt,) = await run.attempts(row["id"])
    (line,) = await run.invoice()
    assert await run.settled_cleanly() == line["cost_nano"]
    direct = await exact(run, model, direct=True, stream=True)
    assert (answer.status, answer.whole, answer.body) == (200, False, direct.body)
    assert answer.body.count(b"\n\n") == events
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], row["status"]) == ("upstream_failed", 200)
    assert (row["usage_source"], attempt["error"]) == ("counted", "truncated")


async def test_the_sdk_sees_the_break(run: Running) -> None:
    """An application learns that its answer is not whole."""
    async with run.sdk(max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(
            model="sim-event-ms-1+die-after-events-4",
            messages=[{"role": "user", "content": WORDS}],
            stream=True,
        )
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            async for _ in stream:
                pass


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_whole_answer_that_breaks_off_is_no_answer(run: Running, how: str) -> None:
    """Half of a JSON document is of no use: the client is told, and may try again. It may be billed."""
    answer = await exact(run, f"sim-output-tokens-99+die-{how}+die-after-events-1")
    row = await run.only_call()
    (line,) = await run.invoice()
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert (row["outcome"], row["status"]) == ("upstream_failed", 502)
    assert (row["usage_source"], row["input_tokens"]) == ("estimated", line["prompt_tokens"])
    assert nano(row["cost_usd"]) >= line["cost_nano"]
    assert await run.verify() == []


async def test_a_stream_that_stalls_is_given_up(start: Start) -> None:
    """After the idle time-out the connection to the client breaks; what came is counted."""
    async with start(sim={"idle_timeout_s": 0.2}) as run:
        answer = await exact(run, "sim-split-event+stall-after-events-5", stream=True)
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
        (line,) = await run.invoice()
        assert await run.settled_cleanly() == line["cost_nano"]
    assert not answer.whole
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], attempt["error"]) == ("upstream_failed", "timeout")


async def test_a_slow_stream_is_not_a_stalled_one(start: Start) -> None:
    """The idle time-out is between two reads: a long answer may take longer."""
    async with start(sim={"idle_timeout_s": 0.2}) as run:
        answer = await exact(run, "sim-event-ms-40+output-tokens-12", stream=True)
        assert answer.whole
        assert (await run.only_call())["outcome"] == "completed"


async def test_the_whole_of_an_answer_has_a_time_too(start: Start) -> None:
    """The total time-out ends even a stream that goes on and on."""
    async with start(sim={"total_timeout_s": 0.3}) as run:
        answer = await exact(run, "sim-event-ms-20+output-tokens-500", stream=True)
        row = await run.only_call()
        assert await run.verify() == []
    assert not answer.whole
    assert (row["outcome"], row["usage_source"]) == ("upstream_failed", "counted")
    assert 0 < row["output_tokens"] < 500


# Before an answer...


@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_in_time_is_a_504(start: Start, stream: bool) -> None:
    """The client is told which side was too slow; the provider had the prompt, and bills it."""
    async with start(sim={"first_byte_timeout_s": 0.2}) as run:
        answer = await exact(run, "sim-first-byte-ms-5000", stream=stream)
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
        (line,) = await run.invoice()
        spent = await run.settled_cleanly()
    # What is not streamed is billed whole; who gave up can only guess what that came to.
    guessed = row["output_tokens"] - line["completion_tokens"]
    assert spent == line["cost_nano"] + 4000 * guessed
    assert row["input_tokens"] == line["prompt_tokens"]
    expected = (0, "counted") if stream else (512, "estimated")
    assert (row["output_tokens"], row["usage_source"]) == expected
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (row["outcome"], row["status"], attempt["error"]) == ("upstream_failed", 504, "timeout")
    assert attempt["status"] is None


async def test_what_was_given_up_is_charged_what_such_calls_usually_cost(start: Start) -> None:
    """By what this process has seen of the team and the model; marked, and never more than was held."""
    async with start(sim={"first_byte_timeout_s": 0.3}) as run:
        for _ in range(3):
            await run.chat("[[sim: output_tokens=40]]", max_completion_tokens=100)
            await run.app.house.pipeline.settled()
        late = "[[sim: output_tokens=40, first_byte_ms=5000]]"
        usual = await run.chat(late, max_completion_tokens=100)
        short = await run.chat(late, max_completion_tokens=25)
        await run.is_idle()
        rows, lines = (await run.calls())[3:], (await run.invoice())[3:]
        await run.settled_cleanly()
    assert (usual.status_code, short.status_code) == (504, 504)
    assert [(r["output_tokens"], r["usage_source"]) for r in rows] == [
        (40, "estimated"),
        (25, "estimated"),
    ]
    assert [line["completion_tokens"] for line in lines] == [40, 25]


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_an_upstream_that_dies_before_its_answer_is_a_502(run: Running, how: str) -> None:
    """It may have had the request: the row says that it was sent."""
    answer = await exact(run, f"sim-die-{how}+die-before-answer")
    row = await run.only_call()
    (attempt,) = await run.attempts(row["id"])
    assert await run.settled_cleanly() == 0
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert (row["outcome"], row["refusal"]) == ("upstream_failed", "upstream_unreachable")
    assert attempt["error"] == "connection"


async def test_an_upstream_that_is_not_there_is_a_502(start: Start) -> None:
    """Nobody listens: nothing was sent, nothing is charged, and the message gives no secret away."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    async with start(sim={"base_url": nobody}) as run:
        answer = await exact(run, "gpt-4o")
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
        assert await run.settled_cleanly() == 0
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    message = answer.error["message"]
    assert message.endswith(
        "The upstream is 'sim'. Try again in a moment; `farebox check` says whether it can be reached."
    )
    assert answer.error["type"] == "upstream_error"
    assert SIMULATED.encode() not in answer.body
    assert attempt["error"] == "connect"


# Errors of its own...


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 529, 599]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstreams_error_passes_unchanged(run: Running, status: int, stream: bool) -> None:
    """Status, headers and body are the provider's; it costs nothing, and nothing stays held."""
    model = f"sim-id-fixed+status-{status}"
    answer = await exact(run, model, stream=stream)
    row = await run.only_call()
    assert await run.settled_cleanly() == 0
    direct = await exact(run, model, direct=True, stream=stream)
    assert (answer.status, answer.body) == (direct.status, direct.body)
    assert upstreams_own(answer) == upstreams_own(direct)
    assert (row["status"], row["usage_source"], row["attempts"]) == (status, "none", 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_answers(run: Running, status: int) -> None:
    """They are not followed: the provider's key would go along."""
    answer = await exact(run, f"sim-status-{status}")
    assert answer.status == status
    assert run.heard.requests == 1


# Streams that are odd, but end...


ASKED = {"stream_options": {"include_usage": True}}
ODD = {
    "error": ("upstream_failed", "server_error"),
    "no_done": ("completed", ""),
    "half_utf8": ("completed", ""),
    "truncated": ("completed", ""),
    "bad_json": ("completed", ""),
    "crlf": ("completed", ""),
    "comments": ("completed", ""),
    "no_space": ("completed", ""),
}


@pytest.mark.parametrize("malformed", ODD)
async def test_a_malformed_stream_passes_as_it_is(run: Running, malformed: str) -> None:
    """Byte for byte as without Farebox; billed as the provider does; an end that is none is marked."""
    model = f"sim-id-fixed+output-tokens-20+malformed-{malformed}"
    # A comment before the usage that only Farebox asked for would be one that nobody else gets.
    body = {"stream": True} | ASKED if malformed == "comments" else {"stream": True}
    answer = await exact(run, model, **body)
    row = await run.only_call()
    (attempt,) = await run.attempts(row["id"])
    (line,) = await run.invoice()
    assert await run.settled_cleanly() == line["cost_nano"]
    direct = await exact(run, model, direct=True, **body)
    assert (answer.status, answer.whole, answer.body) == (200, True, direct.body)
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], attempt["error"]) == ODD[malformed]
    ended = malformed in {"bad_json", "crlf", "comments", "no_space"}
    assert ("incomplete" in attempt["flags"]) == (not ended and malformed != "error")


@pytest.mark.parametrize("malformed", ["error", "bad_json", "truncated", "half_utf8"])
async def test_a_malformed_whole_answer_passes_as_it_is(run: Running, malformed: str) -> None:
    """What is no JSON is the provider's answer all the same, and is marked."""
    model = f"sim-id-fixed+output-tokens-20+malformed-{malformed}"
    answer = await exact(run, model)
    row = await run.only_call()
    (attempt,) = await run.attempts(row["id"])
    assert await run.verify() == []
    direct = await exact(run, model, direct=True)
    assert (answer.status, answer.whole, answer.body) == (200, True, direct.body)
    if malformed == "error":
        assert (row["outcome"], attempt["error"]) == ("upstream_failed", "server_error")
        assert (row["usage_source"], row["cost_usd"]) == ("none", "0.00")
    else:
        assert "answer_unreadable" in attempt["flags"]
        assert row["usage_source"] == "estimated"


@contextlib.asynccontextmanager
async def garbage(answer: bytes) -> AsyncIterator[str]:
    """Something that listens, and is no HTTP server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_half_an_event_reaches_the_client_before_the_break(start: Start) -> None:
    """What Farebox holds back to look for usage is not lost when the upstream breaks off."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
    whole = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    half = b'data: {"choices":[{"index":0,"delta":{"con'
    async with garbage(head + whole + half) as url, start(sim={"base_url": url}) as run:
        answer = await exact(run, "gpt-4o", stream=True)
        row = await run.only_call()
        assert await run.verify() == []
    assert (answer.body, answer.whole) == (whole + half, False)
    assert (row["outcome"], row["output_tokens"]) == ("upstream_failed", 1)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 2OO OK\r\n\r\n"])
async def test_what_is_no_http_is_a_502(start: Start, answer: bytes) -> None:
    """Whatever listens there, the client gets an error that it understands."""
    async with garbage(answer) as url, start(sim={"base_url": url}) as run:
        refused = await exact(run, "gpt-4o")
        assert (await run.only_call())["outcome"] == "upstream_failed"
        assert await run.settled_cleanly() == 0
    assert refused.status == 502
    assert refused.error["type"] == "upstream_error"
