"""What no client should send as HTTP: paths, heads, lengths, connections."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.requests import GOOD, JSON, WITH_KEY, assert_still_serves, chat
from tests.e2e.running import KEY, Running, eventually
from tests.e2e.wire import ask, message, wired

MIB = 2**20
PATHS = [
    "/v1/../admin/v1/keys",
    "/v1/..",
    "/v1/.",
    "/v1/files/../../admin",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2E%2Fadmin",
    "/v1/files/..%2f..%2fadmin",
    "/v1/files/..%5c..%5cadmin",
    "/v1/files/..\\..\\admin",
    "/v1/files/.%2e/admin",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat//completions",
    "/v1/chat/completions/",
    "/v1/chat/./completions",
    "/v1/chat/%63ompletions",
    "/v1/chat%2fcompletions",
    "/v1/Chat/Completions",
    "/v1/chat/completions%20",
    "/v1/chat/completions;x=1",
    "/v1/chat/completions%00",
    "/%76%31/chat/completions",
    "/v1",
    "/V1/chat/completions",
    "/v2/chat/completions",
    "/chat/completions",
    "/",
]


async def test_no_path_gets_around_the_meter_or_out_of_the_api(run: Running) -> None:
    """What another server could read as a metered endpoint, or as one outside of the API, is no path here."""
    for path in PATHS:
        answer = await ask(run.url, message(target=path, headers=WITH_KEY, body=GOOD))

        assert answer.status in {400, 404, 405}, (path, answer.body)
        told = json.loads(answer.body)
        assert told.get("error", told)["message"], path
    assert run.heard.requests == 0
    rows = await run.calls()
    assert len(rows) == sum(path.startswith(("/v1/", "/v2/")) for path in PATHS)
    assert {(row["outcome"], row["refusal"]) for row in rows} == {("refused", "not_found")}
    await assert_still_serves(run)


async def test_the_admin_api_is_not_reached_through_a_callers_key(run: Running) -> None:
    """A caller's key opens nothing but calls, whatever the path looks like."""
    paths = ["/admin/v1/keys", "/admin/v1/../v1/keys", "/%61dmin/v1/keys", "/admin//v1/keys"]
    answers = [await ask(run.url, message("GET", path, WITH_KEY), "GET") for path in paths]

    assert [answer.status for answer in answers] == [401, 404, 401, 404]
    assert [b"search-key" in answer.body for answer in answers] == [False] * 4


async def test_a_body_over_the_limit_is_refused_before_it_is_read(run: Running) -> None:
    """A declared length over 32 MiB is refused at once: not a byte of the body is waited for."""
    declared = [*WITH_KEY, ("content-length", str(33 * MIB))]
    async with wired(run.url) as wire:
        await wire.send(message(headers=declared))
        answer = await wire.answer()

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "limits.max_body_bytes" in answer.error["message"]
    row = await run.row(answer.value(b"x-farebox-call-id").decode())
    assert (row["outcome"], row["status"]) == ("refused", 413)
    assert run.heard.requests == 0


async def test_a_long_body_without_a_length_is_refused_when_it_is_over(run: Running) -> None:
    """Chunked, 33 MiB: refused, with a row; no more memory is taken than the limit's few times."""
    before = resident_mib()
    piece = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
    async with wired(run.url) as wire:
        await wire.send(message(headers=[*WITH_KEY, ("transfer-encoding", "chunked")]))
        for _ in range(33):
            await wire.send(piece)
        answer = await wire.answer()
        for _ in range(100):  # a client that does not listen is read, and not kept
            await wire.send(piece)

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert resident_mib() - before < 150
    assert run.heard.requests == 0
    assert [row["refusal"] for row in await run.calls()] == ["request_too_large"]
    await assert_still_serves(run)


async def test_a_body_just_within_the_limit_is_taken(start: Start) -> None:
    """The limit is a number of bytes: that many pass, one more does not."""
    limit = {"max_body_bytes": len(GOOD)}
    async with start(limits=limit) as run:
        fits = await ask(run.url, message(headers=WITH_KEY, body=GOOD))
        over = await ask(run.url, message(headers=WITH_KEY, body=GOOD + b" "))

    assert (fits.status, over.status) == (200, 413)


async def test_a_head_without_end_is_not_kept(run: Running) -> None:
    """A header line of a megabyte and more, or lines without end: an error, and the connection closes."""
    start_line = (
        b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer %b\r\n" % KEY.encode()
    )
    before = resident_mib()
    for part in (b"x" * MIB, b"x-more: 1\r\n" * 100_000, b"x: " + b"y" * (8 * MIB)):
        async with wired(run.url) as wire:
            await wire.send(start_line + part)
            answer = await wire.answer()

            assert (answer.status, answer.error["code"]) == (431, "request_too_large")
            assert await wire.closed()
    assert resident_mib() - before < 50
    await assert_still_serves(run)


async def test_a_long_address_is_refused(run: Running) -> None:
    """100 kB of path or query: an error, nothing forwarded."""
    for target in ("/v1/files/" + "a" * 100_000, "/v1/files?x=" + "a" * 100_000):
        answer = await ask(run.url, message("GET", target, WITH_KEY), "GET")

        assert (answer.status, answer.error["code"]) == (431, "request_too_large")
    # The parser's counters have 16 bits: this one would look like another path.
    wrapped = "/v1/" + "a" * (2**16 - 4) + "/v1/models"
    assert (await ask(run.url, message("GET", wrapped, WITH_KEY), "GET")).status == 431
    assert run.heard.requests == 0
    await assert_still_serves(run)


NOT_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "two lengths": b"POST /v1/x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /v1/x HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length below zero": b"POST /v1/x HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "a name with space": b"POST /v1/x HTTP/1.1\r\nx y: 1\r\n\r\n",
    "a folded line": b"POST /v1/x HTTP/1.1\r\nx: 1\r\n 2\r\n\r\n",
    "a path that is not ASCII": b"GET /v1/\xff HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT example.test:443 HTTP/1.1\r\nhost: example.test\r\n\r\n",
    "a bad chunk": b"POST /v1/x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_no_http_is_told_so(run: Running, name: str) -> None:
    """The answer has OpenAI's shape too, and the connection closes: its bytes can't be told apart."""
    async with wired(run.url) as wire:
        await wire.send(NOT_HTTP[name])
        answer = await wire.answer()

        assert (answer.status, answer.error["code"]) == (400, "invalid_request")
        assert await wire.closed()
    assert run.heard.requests == 0
    await assert_still_serves(run)


async def test_pipelined_requests_are_answered_in_their_order(run: Running) -> None:
    """A client that does not wait gets its answers one after the other, each with a row."""
    bodies = [chat(f',"user":"u{i}","max_tokens":{i}') for i in range(1, 6)]
    bodies.insert(2, b"no JSON")
    async with wired(run.url) as wire:
        await wire.send(b"".join(message(headers=WITH_KEY, body=body) for body in bodies))
        answers = [await wire.answer() for _ in bodies]

    assert [answer.status for answer in answers] == [200, 200, 400, 200, 200, 200]
    rows = [await run.row(answer.value(b"x-farebox-call-id").decode()) for answer in answers]
    assert [row["user"] for row in rows] == ["u1", "u2", "", "u3", "u4", "u5"]
    assert [row["output_tokens"] for row in rows] == [1, 2, 0, 3, 4, 5]


async def test_what_follows_on_the_connection_does_not_reach_into_an_answer(run: Running) -> None:
    """Garbage after a request ends the connection; it is not answered within the answer under way."""
    async with wired(run.url) as wire:
        streamed = chat(',"stream":true').replace(b"Hello", b"[[sim: event_ms=5]]")
        await wire.send(message(headers=WITH_KEY, body=streamed))
        await wire.send(b"\x00garbage\r\n\r\n")
        answer = await wire.answer()

    assert answer.status == 200
    assert b"HTTP/1.1" not in answer.body
    await assert_still_serves(run)


async def test_an_upgrade_is_not_made(run: Running) -> None:
    """A call that offers another protocol is answered in this one: Java's client offers it each time."""
    for protocol in ("websocket", "h2c"):
        headers = [*WITH_KEY, ("connection", "upgrade"), ("upgrade", protocol)]
        length = ("content-length", str(len(GOOD)))
        chunks = ("transfer-encoding", "chunked")
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
        async with wired(run.url) as wire:
            await wire.send(message(headers=headers, body=GOOD))
            assert (await wire.answer()).status == 200
            await wire.send(message(headers=[*headers, length]))
            await wire.send(GOOD[:9])
            await wire.send(GOOD[9:] + message(headers=[*headers, chunks], body=chunked))
            assert (await wire.answer()).status == 200
            assert (await wire.answer()).status == 200
            await wire.send(message("GET", "/v1/models", headers))
            assert (await wire.answer()).status == 200
    assert run.heard.bodies == [json.loads(GOOD)] * 6


async def test_a_client_that_waits_for_leave_to_send_gets_it(run: Running) -> None:
    """``Expect: 100-continue`` is answered where the body is wanted, and not where it is refused."""
    async with wired(run.url) as wire:
        asked = [*WITH_KEY, ("expect", "100-continue"), ("content-length", str(len(GOOD)))]
        await wire.send(message(headers=asked))
        await wire.send(GOOD)
        assert (await wire.answer()).status == 200
    async with wired(run.url) as wire:
        asked = [JSON, ("expect", "100-continue"), ("content-length", str(len(GOOD)))]
        await wire.send(message(headers=asked))
        assert (await wire.answer()).status == 401


async def test_clients_that_stop_half_way_leave_nothing_behind(run: Running) -> None:
    """A head or body that is never finished is no call upstream, and holds nothing."""
    for part in (
        b"POST",
        message(headers=WITH_KEY)[:-2],
        message(headers=WITH_KEY, body=GOOD)[:-5],
    ):
        for _ in range(20):
            async with wired(run.url) as wire:
                await wire.send(part)

    async def idle() -> bool:
        return run.app.house.pipeline.in_flight == 0

    await eventually(idle)
    assert run.heard.requests == 0
    assert (await run.budget())["held_usd"] == "0.00"
    await assert_still_serves(run)


def resident_mib() -> float:
    """Memory of this process, Farebox and simulator included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB
