"""A call that is cancelled, at any await, leaves both upstream clients as if it had never been."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.gateway.upstreams.base import UpstreamRequest
from tests.contract.upstream_server import (
    OK,
    Connect,
    Peer,
    answering,
    exchange,
    get,
    post,
    serving,
    until,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def never() -> AsyncIterator[bytes]:
    yield b"half"
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        (b"", post()),
        (b"HTTP/1.1 200 O", post()),
        (b"HTTP/1.1 100 Continue\r\n\r\n", post()),
        (HEAD + b"abc", post()),
        (CHUNKED + b"5\r\nabc", post()),
        (b"", post(bytes(32 << 20))),
    ],
)
async def test_a_call_cancelled_while_it_waits_leaves_nothing_behind(
    connect: Connect, answer: bytes, request_: UpstreamRequest
) -> None:
    """For the head, for the body, or to send: the pool's only slot serves the next call."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK if peer.number else answer)
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url, max_connections=1)
        call = asyncio.ensure_future(exchange(client, request_))
        await until(lambda: bool(server.peers) and server.peers[0].sent == len(answer))
        await until(lambda: bool(server.requests))
        for _ in range(20):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        _, _, body = await exchange(client, get())

    assert body == b"ok"
    assert len(server.peers) == 2


async def test_a_call_cancelled_while_its_body_is_made_leaves_nothing_behind(
    connect: Connect,
) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        call = asyncio.ensure_future(client.send(post(never())))
        await until(lambda: bool(server.requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        _, _, body = await exchange(client, get())

    assert body == b"ok"


async def test_a_call_cancelled_while_it_waits_for_a_connection_leaves_nothing_behind(
    connect: Connect,
) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        first, second, third = (asyncio.ensure_future(exchange(client, post())) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        results = await asyncio.gather(first, second, third, return_exceptions=True)

    assert isinstance(results[1], asyncio.CancelledError)
    assert [one[2] for one in results if isinstance(one, tuple)] == [b"ok", b"ok"]


@pytest.mark.parametrize("rounds", range(0, 40, 3))
async def test_a_call_may_be_cancelled_at_any_moment(connect: Connect, rounds: int) -> None:
    """Whatever it was doing after so many turns of the loop, the next call gets its own answer."""

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            name = received.line.split()[1]
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            await peer.send_in_pieces(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(name), name), size=30)

    async with serving(script) as server:
        client = connect(server.url, max_connections=1)
        call = asyncio.ensure_future(exchange(client, get(b"/one")))
        for _ in range(rounds):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        _, _, body = await exchange(client, get(b"/two"))

    assert body == b"/two"
