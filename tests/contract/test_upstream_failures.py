"""What both upstream clients do with a server that breaks off, hangs, or answers too early."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts
from tests.contract.upstream_server import (
    OK,
    Connect,
    Peer,
    Script,
    answering,
    body_of,
    exchange,
    get,
    post,
    serving,
    stalling,
    until,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def breaking_off(answer: bytes, *, reset: bool = False) -> Script:
    """Answer with so many bytes, and close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if answer:
            await peer.send(answer)
        if reset:
            peer.reset()

    return script


# Breaking off


async def test_nobody_listens(connect: Connect) -> None:
    """Nothing was sent, so the call may go elsewhere without the risk of being billed twice."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = connect(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(post())

    assert caught.value.sent is False


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTT", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 100 Continue\r\n\r\n"],
)
async def test_the_connection_breaks_before_the_head(
    connect: Connect, answer: bytes, reset: bool
) -> None:
    async with serving(breaking_off(answer, reset=reset)) as server:
        with pytest.raises(UpstreamUnreachable) as caught:
            await connect(server.url).send(post())

    assert caught.value.sent is True
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"abc",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"3\r\nabc\r\n0\r\n",
    ],
)
async def test_the_connection_breaks_in_the_body(connect: Connect, answer: bytes) -> None:
    """What came is delivered, then the failure; the failure stays."""
    async with serving(breaking_off(answer)) as server:
        client = connect(server.url)
        response = await client.send(post())
        seen = await response.read()
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable):
                await body_of(response)
        await response.aclose()

    assert seen == b"abc"


async def test_the_connection_is_reset_in_the_body(connect: Connect) -> None:
    reset = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"abc")
        await reset.wait()
        peer.reset()

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        assert await response.read() == b"abc"
        reset.set()
        with pytest.raises(UpstreamUnreachable):
            await response.read()
        await response.aclose()


async def test_a_failure_costs_no_more_than_its_connection(connect: Connect) -> None:
    """The only slot of the pool is free again after each kind of failure."""
    answers = [b"", b"HTTP/1.1 2", HEAD + b"abc", CHUNKED + b"zz\r\n", b"SSH-2.0-x\r\n"]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answers[peer.number] if peer.number < len(answers) else OK)

    async with serving(script) as server:
        client = connect(server.url, max_connections=1)
        for _ in answers:
            with pytest.raises(Exception, match="upstream"):
                await exchange(client, post())
        status, _, body = await exchange(client, post())

    assert (status, body) == (200, b"ok")


# A connection that died while it was idle


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_connection_that_died_idle_is_replaced(connect: Connect, streamed: bool) -> None:
    """Its end was seen before the request was sent, so that no body is lost on it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with serving(script) as server:
        client = connect(server.url)
        await exchange(client, post())
        await until(lambda: server.peers[0].socket.fileno() == -1)
        for _ in range(10):
            await asyncio.sleep(0)
        _, _, answer = await exchange(client, post(body() if streamed else b"once"))

    assert answer == b"ok"
    assert [one.body for one in server.requests] == [b"{}", b"once"]


async def test_nothing_is_sent_again_once_a_byte_of_the_answer_came(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    async with serving(script) as server:
        client = connect(server.url)
        await exchange(client, post())
        with pytest.raises(UpstreamUnreachable):
            await client.send(post())

    assert len(server.requests) == 2


async def test_nothing_is_sent_again_on_a_new_connection(connect: Connect) -> None:
    async with serving(breaking_off(b"")) as server:
        with pytest.raises(UpstreamUnreachable):
            await connect(server.url).send(post())

    assert len(server.requests) == 1


# Time-outs


async def test_connecting_takes_too_long(connect: Connect) -> None:
    """A TLS handshake that nobody answers: not sent."""

    async def script(peer: Peer) -> None:
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url.replace("http:", "https:"), timeouts=Timeouts(connect=0.05))
        with pytest.raises(UpstreamTimeout) as caught:
            await client.send(post())

    assert caught.value.sent is False


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_the_head_takes_too_long(connect: Connect, answer: bytes) -> None:
    async with serving(stalling(answer)) as server:
        client = connect(server.url, timeouts=Timeouts(first_byte=0.05))
        with pytest.raises(UpstreamTimeout, match="first_byte") as caught:
            await client.send(post())

    assert caught.value.sent is True


@pytest.mark.parametrize("answer", [HEAD + b"abc", CHUNKED + b"3\r\nabc\r\n"])
async def test_the_next_bytes_take_too_long(connect: Connect, answer: bytes) -> None:
    async with serving(stalling(answer)) as server:
        response = await connect(server.url, timeouts=Timeouts(idle=0.2)).send(post())
        assert await response.read() == b"abc"
        with pytest.raises(UpstreamTimeout, match="idle"):
            await response.read()
        await response.aclose()


async def test_the_whole_takes_too_long(connect: Connect) -> None:
    """However busily the upstream drips."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b".")
            await asyncio.sleep(0)

    async with serving(script) as server:
        client = connect(server.url, timeouts=Timeouts(total=0.1))
        with pytest.raises(UpstreamTimeout, match="total"):
            await exchange(client, post())


async def test_a_slow_reader_is_not_the_upstreams_fault(connect: Connect) -> None:
    """The idle time-out runs only while somebody waits for the upstream."""
    loop = asyncio.get_running_loop()
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in (HEAD, b"abc", b"defg"):
            await peer.send(part)
            await go_on.wait()
            go_on.clear()
        await peer.hold()

    async with serving(script) as server:
        response = await connect(server.url, timeouts=Timeouts(idle=0.1)).send(post())
        seen = b""
        for _ in range(2):
            go_on.set()
            seen += await response.read()
            later = loop.time() + 0.3
            await until(lambda later=later: loop.time() > later)  # type: ignore[misc] # bound now
        await response.aclose()

    assert seen == b"abcdefg"


async def test_an_upstream_that_takes_no_bytes_is_too_slow(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.Event().wait()

    async with serving(script, receive_buffer=65_536) as server:
        client = connect(server.url, timeouts=Timeouts(first_byte=0.1))
        with pytest.raises(UpstreamTimeout, match="first_byte"):
            await client.send(post(bytes(32 << 20)))


# Answers before the end of the request


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_may_come_before_the_whole_body_was_sent(
    connect: Connect, streamed: bool
) -> None:
    """It is delivered, and the connection is not used again: half a request stands on it."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield bytes(1 << 20)

    async def script(peer: Peer) -> None:
        received = await peer.head()
        if received.line.startswith(b"GET"):
            await peer.send(OK)
            return
        await peer.send(
            b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig"
        )
        peer.socket.shutdown(socket.SHUT_WR)
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url, max_connections=1)
        early = await exchange(client, post(body() if streamed else bytes(32 << 20)))
        late = await exchange(client, get())

    assert (early[0], early[2]) == (413, b"big")
    assert (late[0], late[2]) == (200, b"ok")


class BodyGoneError(Exception):
    """What a client's body may raise."""


async def test_a_body_that_breaks_off_ends_the_call(connect: Connect) -> None:
    """With its own error; and the half request costs the connection."""

    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise BodyGoneError

    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        with pytest.raises(BodyGoneError):
            await client.send(post(body()))
        status, _, _ = await exchange(client, post())

    assert status == 200
    assert len(server.peers) == 2
