"""Pass-through at its edges: early answers, clients that leave, streams, and headers that lie."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import (
    KEY,
    SIMULATED,
    UPSTREAM_CLIENT,
    Running,
    bearer,
    eventually,
)
from tests.e2e.wire import ask, message, wired

MB = 2**20
KEYED = [*bearer(KEY).items()]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream(serve: Serve) -> AsyncIterator[str]:
    """Something that speaks to each connection as ``serve`` does; its base URL."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_no_upstream_can_pretend_to_be_farebox(start: Start) -> None:
    """Headers in our name are ours; those for one connection only are not passed on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Farebox-Cost-USD: 0\r\n"
            b"x-farebox-call-id: forged\r\nkeep-alive: timeout=9\r\nproxy-authenticate: Basic\r\n"
            b"x-hop: 1\r\nconnection: x-hop\r\nserver: theirs\r\nDate: today\r\nx-end: 1\r\n\r\nok"
        )
        await writer.drain()

    async with upstream(serve) as url, start(sim={"base_url": url}) as run:
        answer = await run.client.get("/v1/files", headers=bearer(KEY))
        row = await run.only_call()
    assert answer.text == "ok"
    assert answer.headers.get_list("x-farebox-call-id") == [row["id"]]
    for gone in ("x-farebox-cost-usd", "keep-alive", "proxy-authenticate", "x-hop"):
        assert gone not in answer.headers
    assert answer.headers.get_list("server") == ["theirs"]
    assert answer.headers.get_list("date") == ["today"]
    assert answer.headers["x-end"] == "1"


@pytest.mark.skipif(UPSTREAM_CLIENT == "httpx", reason="httpx listens once all is sent")
async def test_an_answer_before_the_upload_is_complete(start: Start) -> None:
    """An upstream that refuses a large body at its head is heard at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge"
        )
        await writer.drain()
        await reader.read()

    async with upstream(serve) as url, start(sim={"base_url": url}) as run, wired(run.url) as wire:
        head = [*KEYED, ("content-type", "audio/wav"), ("content-length", str(50 * MB))]
        await wire.send(message("POST", "/v1/files", head, bytes(MB // 4)))
        answer = await wire.answer()
        row = await run.only_call()
    assert (answer.status, answer.body) == (413, b"large")
    assert (row["status"], row["outcome"]) == (413, "completed")


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions"])
async def test_a_client_that_waits_to_be_told_to_continue(run: Running, path: str) -> None:
    """``Expect: 100-continue`` is answered here, and not passed on."""
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'
    head = [*KEYED, ("expect", "100-continue"), ("content-length", str(len(body)))]
    address = urlsplit(run.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(message("POST", path, head))
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    assert (await run.only_call())["status"] == 200


async def test_a_stream_of_another_endpoint(start: Start) -> None:
    """Events that are not metered go through one by one, as they come."""
    told = asyncio.Event()
    events = [b"event: a\r\ndata: 1\r\n\r\n", b'data: {"usage":null}\n\n', b": comment\n\ndata: 3"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + events[0])
        await told.wait()
        writer.write(events[1] + events[2])
        await writer.drain()

    async with upstream(serve) as url, start(sim={"base_url": url}) as run:
        came: list[bytes] = []
        async with run.client.stream("POST", "/v1/evals", headers=bearer(KEY)) as answer:
            async for piece in answer.aiter_raw():
                came.append(piece)
                told.set()  # only now the rest is sent
        row = await run.only_call()
    assert came[0] == events[0]
    assert b"".join(came) == b"".join(events)
    assert (row["endpoint"], row["usage_source"]) == ("evals", "none")


@pytest.mark.parametrize("when", ["before the answer", "in its middle"])
async def test_a_client_that_leaves_frees_the_upstream(start: Start, when: str) -> None:
    """What nobody waits for, and nothing is metered of, is not read on."""
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        if when == "in its middle":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\nsome")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        closed.set()

    sim = {"on_client_leave": "drain"}
    async with upstream(serve) as url, start(sim=sim | {"base_url": url}) as run:
        async with wired(run.url) as wire:
            await wire.send(message("GET", "/v1/files/f/content", KEYED))
            async with asyncio.timeout(10):
                await asked.wait()
        async with asyncio.timeout(10):
            await closed.wait()
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
    assert (row["outcome"], row["cost_usd"], attempt["error"]) == (
        "client_left",
        "0.00",
        "client_left",
    )


async def test_an_upload_whose_client_leaves(run: Running) -> None:
    """The upstream sees an upload that was broken off, and not one that is complete."""
    head = [*KEYED, ("content-type", "audio/wav"), ("content-length", str(MB))]
    async with wired(run.url) as wire:
        await wire.send(message("POST", "/v1/files", head, b"some of it"))
        await run.upstream_heard(1)
    row = await run.only_call()
    assert (row["outcome"], row["status"]) == ("client_left", 0)

    async def told() -> bool:
        return bool(await run.invoice())

    await eventually(told)
    assert [line["outcome"] for line in await run.invoice()] == ["client_left"]


async def test_two_requests_on_one_connection(run: Running) -> None:
    """Requests that are sent without waiting for answers are answered in their order."""
    one, two = (message("GET", f"/v1/files/{name}", KEYED) for name in ("one", "two"))
    async with wired(run.url) as wire:
        await wire.send(one + two)
        answers = [await wire.answer("GET"), await wire.answer("GET")]
    assert [b'/v1/files/one"' in answers[0].body, b'/v1/files/two"' in answers[1].body] == [
        True
    ] * 2
    assert len(await run.calls()) == 2


async def test_http_1_0(run: Running) -> None:
    """An old client gets an answer that ends with its connection."""
    request = message("GET", "/v1/files", KEYED).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await ask(run.url, request, "GET")
    assert answer.status == 200
    assert b'"simulated.echo"' in answer.body
    assert SIMULATED.encode() in answer.body  # as the upstream got it


@pytest.mark.parametrize(
    "path",
    [
        "/model/..%2f..%2fadmin/converse",
        "/model/%252e%252e%252fadmin/converse",
        "/model/..%5C..%5Cadmin/converse",
        "/openai/deployments/..%2fadmin/chat/completions",
        "/v1/projects/..%2fp/locations/l/publishers/google/models/m:generateContent",
        "/v1beta/models/a%2f..%2f..%2fadmin:generateContent",
    ],
)
async def test_a_model_in_a_path_is_no_way_out_of_the_upstreams_api(
    run: Running, path: str
) -> None:
    """A server may unescape it: the request, with the upstream's credential, would go elsewhere there."""
    answer = await run.client.post(path, json={"messages": []}, headers=bearer(KEY))

    assert answer.status_code == 404
    assert "leads nowhere" in answer.text
    assert run.heard.requests == 0
