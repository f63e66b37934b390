"""The connections of our own client, and who gets them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts
from proxy.gateway.upstreams.http1 import Http1Client
from tests.contract.upstream_server import (
    OK,
    Peer,
    answering,
    body_of,
    exchange,
    get,
    pieces,
    post,
    serving,
    stalling,
    until,
)

Connect = Callable[..., Http1Client]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


async def test_the_connection_is_free_once_the_last_byte_has_come(connect: Connect) -> None:
    """Before the body is read, or the answer closed."""
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        states = [repr(client)]
        response = await client.send(post())
        states.append(repr(client))
        body = await body_of(response)

    assert states == [
        "<Http1Client [active: 0, idle: 0, waiting: 0]>",
        "<Http1Client [active: 0, idle: 1, waiting: 0]>",
    ]
    assert body == b"ok"


async def test_the_connection_is_busy_until_the_last_byte_has_come(connect: Connect) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"12345")
        await go_on.wait()
        await peer.send(b"67890")
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url)
        response = await client.send(post())
        before = repr(client)
        go_on.set()
        body = await body_of(response)
        after = repr(client)

    assert before == "<Http1Client [active: 1, idle: 0, waiting: 0]>"
    assert body == b"1234567890"
    assert after == "<Http1Client [active: 0, idle: 1, waiting: 0]>"


async def test_the_connection_used_last_is_used_first(connect: Connect) -> None:
    """So that the ones too many fall idle, and are closed."""
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        await asyncio.gather(*(exchange(client, post()) for _ in range(3)))
        for _ in range(5):
            await exchange(client, post(b"x" * 9))

    used = [peer for peer in server.peers if peer.sent > 2 * len(OK)]
    assert len(used) == 1


async def test_idle_connections_are_closed_after_a_while(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, idle_expiry_s=0.02)
        await exchange(client, post())
        assert repr(client) == "<Http1Client [active: 0, idle: 1, waiting: 0]>"
        await until(lambda: server.peers[0].socket.fileno() == -1)

    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_an_idle_connection_that_the_upstream_closes_is_forgotten(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serving(script) as server:
        client = connect(server.url)
        await exchange(client, post())
        await until(lambda: "idle: 0" in repr(client))

    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


@pytest.mark.parametrize("surplus", [b"x", OK, b"\r\n"])
async def test_bytes_that_nobody_asked_for_close_the_connection(
    connect: Connect, surplus: bytes
) -> None:
    """Whether they come with the answer, or later."""
    async with serving(stalling(OK + surplus)) as server:
        client = connect(server.url)
        bodies = [(await exchange(client, post()))[2] for _ in range(3)]

    assert bodies == [b"ok"] * 3
    assert len(server.peers) == 3
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_who_waits_longest_is_served_first(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        calls = [
            asyncio.ensure_future(exchange(client, get(b"/%d" % number))) for number in range(5)
        ]
        await asyncio.sleep(0)
        waiting = repr(client)
        await asyncio.gather(*calls)

    assert waiting == "<Http1Client [active: 1, idle: 0, waiting: 4]>"
    assert [one.line for one in server.requests] == [b"GET /%d HTTP/1.1" % n for n in range(5)]
    assert len(server.peers) == 1


async def test_a_slot_that_becomes_free_goes_to_who_waits(connect: Connect) -> None:
    """Where every connection is closed after its answer, each waiter opens a new one."""
    async with serving(answering(OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"))) as server:
        client = connect(server.url, max_connections=2)
        await asyncio.gather(*(exchange(client, post()) for _ in range(9)))

    assert len(server.peers) == 9
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_waiters_are_told_when_nobody_can_connect(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = connect(f"http://127.0.0.1:{taken.getsockname()[1]}", max_connections=1)
        results = await asyncio.gather(
            *(client.send(post()) for _ in range(5)), return_exceptions=True
        )

    assert [type(one) for one in results] == [UpstreamUnreachable] * 5
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_waiting_in_vain_leaves_the_queue(connect: Connect) -> None:
    async with serving(stalling(HEAD)) as server:
        client = connect(server.url, max_connections=1, timeouts=Timeouts(connect=0.2))
        busy = await client.send(post())
        with pytest.raises(UpstreamTimeout, match="busy"):
            await client.send(post())
        state = repr(client)
        await busy.aclose()

    assert state == "<Http1Client [active: 1, idle: 0, waiting: 0]>"


@pytest.mark.parametrize("turns", range(12))
async def test_a_waiter_cancelled_as_its_turn_comes_hands_it_on(
    connect: Connect, turns: int
) -> None:
    """Also between the moment a connection is given to it and the one it wakes up."""
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        first, second, third = (asyncio.ensure_future(client.send(post())) for _ in range(3))
        await first
        for _ in range(turns):
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        response = await third
        body = await body_of(response)

    assert body == b"ok"
    assert repr(client) in (
        "<Http1Client [active: 0, idle: 1, waiting: 0]>",
        "<Http1Client [active: 0, idle: 0, waiting: 0]>",
    )


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_a_call_cancelled_at_any_moment_leaves_a_clean_pool(
    connect: Connect, turns: int
) -> None:
    async def script(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await peer.request()
                await peer.send_in_pieces(HEAD + b"1234567890", size=12)

    async with serving(script) as server:
        client = connect(server.url)
        call = asyncio.ensure_future(exchange(client, post(pieces(b"a", b"b"))))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        state = repr(client)

    assert state in (
        "<Http1Client [active: 0, idle: 0, waiting: 0]>",
        "<Http1Client [active: 0, idle: 1, waiting: 0]>",
    )


async def test_closing_the_client_ends_calls_and_waiters(connect: Connect) -> None:
    async with serving(stalling(HEAD + b"abc")) as server:
        client = connect(server.url, max_connections=1)
        response = await client.send(post())
        waiting = asyncio.ensure_future(client.send(post()))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(UpstreamUnreachable, match="client was closed"):
            await waiting
        seen = await response.read()
        with pytest.raises(UpstreamUnreachable, match="client was closed"):
            await response.read()

    assert seen == b"abc"
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"


async def test_sockets_do_not_wait_for_more_to_send(connect: Connect) -> None:
    """TCP_NODELAY, on either event loop."""
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        await exchange(client, post())
        (connection,) = client._pool._idle
        plain = connection.transport.get_extra_info("socket")

        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_no_timer_stays_behind_without_connections(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, idle_expiry_s=0.02)
        await exchange(client, post())
        await until(lambda: client._pool._timer is None)

    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"
