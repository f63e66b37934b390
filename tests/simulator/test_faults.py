"""Everything that can go wrong with an upstream, on demand, on a real socket."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from proxy.simulator import API_KEY, Outcome, create_app, serve
from proxy.simulator.controls import Billing
from proxy.simulator.exchange import pieces
from tests.simulator.provider import Provider, chat_body, content, events

IMPATIENT = httpx.Timeout(10, read=0.2)
USAGE = {"stream_options": {"include_usage": True}}


# Errors...


async def test_too_many_requests_says_when_to_come_back(provider: Provider) -> None:
    plain = await provider.chat("[[sim: status=429]]")
    quota = await provider.chat("[[sim: status=429, retry_after=7, error_code=insufficient_quota]]")

    assert (
        plain.headers["retry-after"],
        plain.json()["error"]["code"],
    ) == ("1", "rate_limit_exceeded")
    assert (
        quota.headers["retry-after"],
        quota.json()["error"]["code"],
    ) == ("7", "insufficient_quota")


async def test_a_gateway_before_the_api_answers_with_a_page(provider: Provider) -> None:
    response = await provider.chat("[[sim: status=502]]")

    assert response.headers["content-type"] == "text/html"
    assert "<h1>502 Bad gateway</h1>" in response.text


async def test_a_redirect(provider: Provider) -> None:
    response = await provider.chat("[[sim: status=307]]")

    assert (response.status_code, response.headers["location"]) == (307, "/v1/redirected")


# Time...


async def test_the_first_byte_can_be_late(provider: Provider) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with provider.streamed("[[sim: first_byte_ms=80]]"):
        waited = loop.time() - start

    assert waited >= 0.08


async def test_events_can_be_paced(provider: Provider) -> None:
    """Each one is on its way before the next one is due."""
    loop = asyncio.get_running_loop()
    arrivals = []
    async with provider.streamed("[[sim: output_tokens=4, event_ms=20]]") as response:
        async for chunk in response.aiter_raw():
            assert chunk.count(b"data: ") == 1
            arrivals.append(loop.time())

    assert len(arrivals) == 7
    assert arrivals[-1] - arrivals[0] >= 6 * 0.02


async def test_a_stream_can_stall_and_go_on(provider: Provider) -> None:
    response = await provider.chat("[[sim: stall_after_events=2, stall_ms=30]]", stream=True)

    assert events(response.text)
    assert provider.line.outcome == Outcome.COMPLETED


async def test_a_stream_can_stall_for_ever(provider: Provider) -> None:
    """Until the client has had enough; what was generated is billed."""
    prompt = "[[sim: stall_after_events=4, output_tokens=50]]"
    with pytest.raises(httpx.ReadTimeout):
        await provider.client.post(
            "/v1/chat/completions", json=chat_body(prompt, stream=True), timeout=IMPATIENT
        )

    (line,) = await provider.billed()
    assert (line.outcome, line.completion_tokens) == (Outcome.CLIENT_LEFT, 3)


# Death...


async def broken(
    provider: Provider, body: dict[str, Any], error: type[Exception]
) -> tuple[httpx.Response, bytes]:
    """What arrived before the answer broke off in this way."""
    received = b""
    async with provider.client.stream("POST", "/v1/chat/completions", json=body) as response:
        try:
            async for chunk in response.aiter_raw():
                received += chunk
        except error:
            return response, received
    raise AssertionError(f"the answer did not break off, but ended in {received[-40:]!r}")


@pytest.mark.parametrize(
    ("die", "error"), [("reset", httpx.ReadError), ("close", httpx.RemoteProtocolError)]
)
async def test_dies_within_a_stream(provider: Provider, die: str, error: type[Exception]) -> None:
    """Just so many events arrive; the connection is reset, or closed without the end of the body."""
    prompt = f"[[sim: output_tokens=9, die_after_events=3, die={die}]]"

    _, received = await broken(provider, chat_body(prompt, stream=True), error)

    assert received.count(b"\n\n") == 3
    assert (
        provider.line.outcome,
        provider.line.status,
        provider.line.completion_tokens,
    ) == (Outcome.DIED, 200, 2)


@pytest.mark.parametrize(
    ("die", "error"), [("reset", httpx.ReadError), ("close", httpx.RemoteProtocolError)]
)
async def test_dies_before_it_answers(provider: Provider, die: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await provider.chat(f"[[sim: die_before_answer, die={die}]]")

    assert (
        provider.line.outcome,
        provider.line.status,
        provider.line.cost_nano,
    ) == (Outcome.DIED, 0, 0)


async def test_dies_within_a_whole_answer(provider: Provider) -> None:
    """Its length was promised; the provider had generated all of it, and bills it."""
    body = chat_body("[[sim: output_tokens=9, die_after_events=0]]")

    response, received = await broken(provider, body, httpx.ReadError)

    assert int(response.headers["content-length"]) // 2 == len(received)
    assert (provider.line.outcome, provider.line.completion_tokens) == (Outcome.DIED, 9)


async def test_the_next_request_is_served(provider: Provider) -> None:
    with pytest.raises(httpx.ReadError):
        await provider.chat("[[sim: die_before_answer]]")

    assert (await provider.chat()).status_code == 200


# Bytes...


@pytest.mark.parametrize("split", ["1", "7", "line", "event", "char"])
@pytest.mark.parametrize("stream", [False, True])
async def test_splits_do_not_change_the_bytes(provider: Provider, split: str, stream: bool) -> None:
    prompt = "[[sim: id=abc, output_tokens=70, prompt_tokens=9{}]]"
    fields: dict[str, Any] = {"stream": stream, "seed": 1}
    body = chat_body(prompt.format(f", split={split}"), **fields)
    chunks = []
    async with provider.client.stream("POST", "/v1/chat/completions", json=body) as response:
        chunks = [chunk async for chunk in response.aiter_raw()]

    whole = b"".join(chunks)
    if stream:
        assert len(events(whole.decode())) + 1 == 73
    else:
        assert json.loads(whole)["usage"]["completion_tokens"] == 70
    if stream or split != "event":
        assert len(chunks) > 1


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (1, [b"a", b"\xc3", b"\xa9", b"\n", b"\xf0", b"\x9f", b"\x98", b"\x8a"]),
        (3, [b"a\xc3\xa9", b"\n\xf0\x9f", b"\x98\x8a"]),
        ("line", [b"a\xc3\xa9\n", b"\xf0\x9f\x98\x8a"]),
        ("char", [b"a\xc3", b"\xa9\n\xf0", b"\x9f\x98\x8a"]),
    ],
)
def test_where_it_splits(split: int | str, expected: list[bytes]) -> None:
    assert expected == list(pieces("aé\n😊".encode(), split))


@pytest.mark.parametrize(
    ("fault", "ends", "done"),
    [
        ("half_utf8", b'" caf\xc3', False),
        ("truncated", b'"choices":[', False),
        ("no_done", b"}\n\n", False),
        ("error", b"}}\n\n", False),
        ("bad_json", b"data: [DONE]\n\n", True),
        ("crlf", b"data: [DONE]\r\n\r\n", True),
        ("comments", b": simulated\n\ndata: [DONE]\n\n", True),
        ("no_space", b"data:[DONE]\n\n", True),
    ],
)
async def test_malformed_streams(provider: Provider, fault: str, ends: bytes, done: bool) -> None:
    """They are complete for HTTP, and what was generated is billed."""
    response = await provider.chat(
        f"[[sim: output_tokens=10, malformed={fault}]]", stream=True, **USAGE
    )

    assert response.content.endswith(ends)
    assert done == (b"[DONE]" in response.content)
    assert (5 if fault == "error" else 10) == provider.line.completion_tokens
    usage_known = fault in ("bad_json", "crlf", "comments", "no_space", "no_done")
    assert usage_known == (b'"usage":{' in response.content)


async def test_one_line_is_no_json(provider: Provider) -> None:
    response = await provider.chat("[[sim: malformed=bad_json]]", stream=True)

    broken = []
    for line in response.text.split("\n\n")[:-2]:
        try:
            json.loads(line.removeprefix("data: "))
        except json.JSONDecodeError:
            broken.append(line)
    assert len(broken) == 1


@pytest.mark.parametrize("fault", ["bad_json", "truncated", "half_utf8"])
async def test_malformed_whole_answers(provider: Provider, fault: str) -> None:
    response = await provider.chat(f"[[sim: malformed={fault}]]")

    with pytest.raises(ValueError, match=r"(?i)delimiter|utf-8|expecting|unterminated"):
        json.loads(response.content)


async def test_an_error_inside_a_whole_answer_of_status_200(provider: Provider) -> None:
    response = await provider.chat("[[sim: malformed=error]]")

    assert response.status_code == 200
    assert response.json()["error"]["type"] == "server_error"
    assert provider.line.cost_nano == 0


# Usage...


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_can_be_absent(provider: Provider, stream: bool) -> None:
    fields = {"stream": True, **USAGE} if stream else {}

    response = await provider.chat("[[sim: no_usage, output_tokens=5]]", **fields)

    assert "usage" not in response.text
    assert provider.line.completion_tokens == 5


async def test_usage_can_be_zero(provider: Provider) -> None:
    whole = await provider.chat("[[sim: usage_zero, output_tokens=5]]")
    streamed = await provider.chat("[[sim: usage_zero, output_tokens=5]]", stream=True, **USAGE)

    reported = [whole.json()["usage"], *(chunk["usage"] for chunk in events(streamed.text))]
    assert {0} == {usage["total_tokens"] for usage in reported}
    assert [line.completion_tokens for line in provider.app.invoice.lines] == [5, 5]


async def test_only_the_last_usage_can_have_numbers(provider: Provider) -> None:
    response = await provider.chat(
        "[[sim: usage_zero=chunks, output_tokens=2]]", stream=True, **USAGE
    )

    reported = [chunk["usage"]["completion_tokens"] for chunk in events(response.text)]
    assert reported == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("asked", [False, True])
async def test_usage_can_come_with_the_end_of_a_choice(provider: Provider, asked: bool) -> None:
    """Asked for or not, and in no chunk of its own."""
    response = await provider.chat(
        "[[sim: usage_on_finish_chunk, output_tokens=5]]", stream=True, **(USAGE if asked else {})
    )

    *said, last = events(response.text)
    assert last["usage"]["completion_tokens"] == 5
    assert last["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in said)


# A client that leaves...


async def leave_after(provider: Provider, prompt: str, chunks: int) -> None:
    async with provider.streamed(prompt) as response:
        incoming = response.aiter_raw()
        for _ in range(chunks):
            await anext(incoming)


async def test_what_was_generated_is_billed_when_the_client_leaves(provider: Provider) -> None:
    """Noticed between two events: one is on its way at most."""
    await leave_after(provider, "[[sim: output_tokens=500, event_ms=10]]", 4)

    (line,) = await provider.billed()
    assert (line.outcome, line.client_left, line.status) == (Outcome.CLIENT_LEFT, True, 200)
    assert 3 <= line.completion_tokens <= 5
    assert line.prompt_tokens * 2500 + line.completion_tokens * 10_000 == line.cost_nano


async def test_a_full_answer_can_be_billed_when_the_client_leaves(provider: Provider) -> None:
    await leave_after(provider, "[[sim: output_tokens=500, event_ms=10, bill_on_leave=full]]", 2)

    (line,) = await provider.billed()
    assert (line.outcome, line.completion_tokens) == (Outcome.CLIENT_LEFT, 500)


async def test_billing_in_full_can_be_the_rule() -> None:
    async with (
        serve(app := create_app(bill_on_leave=Billing.FULL)) as address,
        httpx.AsyncClient(
            base_url=address, headers={"authorization": f"Bearer {API_KEY}"}
        ) as client,
    ):
        provider = Provider(app, address, client)
        await leave_after(provider, "[[sim: output_tokens=500, event_ms=10]]", 2)

        (line,) = await provider.billed()

    assert line.completion_tokens == 500


@pytest.mark.parametrize(("stream", "expected"), [(True, 0), (False, 20)])
async def test_leaving_before_the_answer(provider: Provider, stream: bool, expected: int) -> None:
    """The prompt is billed; an answer that is not streamed is finished, and billed in full."""
    body = chat_body("[[sim: output_tokens=20, first_byte_ms=60000]]", stream=stream)
    with pytest.raises(httpx.ReadTimeout):
        await provider.client.post("/v1/chat/completions", json=body, timeout=IMPATIENT)

    (line,) = await provider.billed()
    assert (Outcome.CLIENT_LEFT, 0, expected) == (line.outcome, line.status, line.completion_tokens)
    assert line.prompt_tokens > 0


async def test_a_slow_reader_stops_generation(provider: Provider) -> None:
    """A long answer waits for its reader, and is broken off where that leaves."""
    prompt = "[[sim: output_tokens=2000000]]"
    async with provider.streamed(prompt, model="sim-default") as response:
        first = await anext(response.aiter_raw())

    (line,) = await provider.billed()
    assert first.startswith(b"data: ")
    assert line.outcome == Outcome.CLIENT_LEFT
    assert line.completion_tokens < 200_000


async def test_a_long_answer_without_pace_is_complete(provider: Provider) -> None:
    response = await provider.chat("[[sim: output_tokens=5000]]", stream=True, model="sim-default")

    assert 5000 == content(events(response.text)).count(" ") + 1 == provider.line.completion_tokens
