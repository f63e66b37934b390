"""What our own client promises beyond the contract: fresh connections, and early answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from proxy.core.errors import UpstreamFailed, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts
from proxy.gateway.upstreams.http1 import Http1Client
from tests.contract.upstream_server import (
    OK,
    Peer,
    answering,
    body_of,
    dying_on_reuse,
    exchange,
    post,
    serving,
    until,
)

Connect = Callable[..., Http1Client]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


# Fresh connections


async def test_a_fresh_request_leaves_idle_connections_alone(connect: Connect) -> None:
    async with serving(dying_on_reuse) as server:
        client = connect(server.url, max_connections=2)
        await exchange(client, post())
        status, _, body = await exchange(client, replace(post(), fresh=True))

    assert (status, body) == (200, b"ok")
    assert [peer.number for peer in server.peers] == [0, 1]


async def test_an_answer_that_had_begun_is_none_to_ask_for_again(connect: Connect) -> None:
    """The upstream is there, and at work: perhaps for money. What httpx can't tell."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK[:12])

    async with serving(script) as server:
        client = connect(server.url)
        await exchange(client, post())
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(post())

    assert (caught.value.sent, caught.value.stale) == (True, False)


# Early answers


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_early_answer_is_delivered_though_nobody_takes_the_rest(
    connect: Connect, streamed: bool
) -> None:
    """The sending stops, the body is closed, and the connection too once the answer was read."""
    closed, go_on = 0, asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            closed += 1

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(HEAD + b"12345")
        await go_on.wait()
        await peer.send(b"67890")
        await asyncio.Event().wait()

    async with serving(script, receive_buffer=65_536) as server:
        client = connect(server.url)
        response = await client.send(post(body() if streamed else bytes(64 << 20)))
        closed_then = closed
        first = await response.read()
        go_on.set()
        rest = await body_of(response)

    assert [first, rest] == [b"12345", b"67890"]
    assert closed_then == int(streamed)
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_an_early_answer_ends_a_body_that_never_comes(connect: Connect) -> None:
    """Though the client who makes the body says nothing more."""

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.Event().wait()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.hold()

    async with serving(script) as server:
        status, _, answer = await exchange(connect(server.url), post(body()))

    assert (status, answer) == (200, b"ok")


@pytest.mark.parametrize("turn", range(6))
async def test_an_early_answer_survives_a_reset(connect: Connect, turn: int) -> None:
    """A server that closes with unread bytes resets; what it said before still counts."""

    async def script(peer: Peer) -> None:
        await peer.head()
        for _ in range(turn):
            await peer.receive()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")

    async with serving(script) as server:
        status, _, body = await exchange(connect(server.url), post(bytes(32 << 20)))

    assert (status, body) == (413, b"big")


async def test_a_slow_body_is_not_the_upstreams_fault(connect: Connect) -> None:
    """The first-byte time-out waits for the client to bring its body."""
    loop = asyncio.get_running_loop()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        later = loop.time() + 0.3
        await until(lambda: loop.time() > later)
        yield b"two"

    async with serving(answering(OK)) as server:
        client = connect(server.url, timeouts=Timeouts(first_byte=0.1))
        status, _, _ = await exchange(client, post(body()))

    assert status == 200
    assert server.requests[0].body == b"onetwo"


# Limits


async def test_bytes_between_chunks_are_bounded(connect: Connect) -> None:
    """Nothing of endless trailers or extensions ever reaches a reader who could slow them down."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        while True:
            await peer.send(b"x-trailer: " + b"a" * 10_000 + b"\r\n")

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        assert await response.read() == b"abc"
        with pytest.raises(UpstreamFailed, match="between two chunks"):
            await response.read()
