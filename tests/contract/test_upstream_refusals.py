"""What neither client sends, and neither takes: whatever two readers could read in two ways."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts, UpstreamRequest
from tests.contract.upstream_server import OK, Connect, Peer, exchange, get, serving, until

STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = STATUS + b"transfer-encoding: chunked\r\n\r\n"

BAD_ANSWERS = {
    "two lengths": STATUS + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "two lengths in one": STATUS + b"content-length: 2, 3\r\n\r\nabc",
    "length and coding": STATUS
    + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "coding and length": STATUS
    + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "unknown coding": STATUS + b"transfer-encoding: gzip\r\n\r\nabc",
    "chunked twice": STATUS + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding before chunked": STATUS + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding repeated": STATUS
    + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length with a sign": STATUS + b"content-length: +3\r\n\r\nabc",
    "negative length": STATUS + b"content-length: -3\r\n\r\nabc",
    "length in hex": STATUS + b"content-length: 0x3\r\n\r\nabc",
    "huge length": STATUS + b"content-length: 99999999999999999999999\r\n\r\nabc",
    "no length": STATUS + b"content-length: \r\n\r\nabc",
    "chunk size no number": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk size with a sign": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size empty": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunk size overflows": CHUNKED + b"f" * 30 + b"\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "space before the colon": STATUS + b"content-length : 3\r\n\r\nabc",
    "space in a name": STATUS + b"x a: b\r\ncontent-length: 3\r\n\r\nabc",
    "no name": STATUS + b": b\r\ncontent-length: 3\r\n\r\nabc",
    "no colon": STATUS + b"header\r\ncontent-length: 3\r\n\r\nabc",
    "NUL in a value": STATUS + b"x: a\x00b\r\ncontent-length: 3\r\n\r\nabc",
    "bare CR in a value": STATUS + b"x: a\rcontent-length: 3\r\n\r\nabc",
    "garbage first": b"garbage\r\n\r\n" + OK,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no version": b"HTTP 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "another protocol is chosen": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "head too long": STATUS + b"x: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "endless head": STATUS + b"x: " + b"a" * 300_000,
    "endless status line": b"HTTP/1.1 200 " + b"a" * 300_000,
    "too many headers": STATUS + b"x: y\r\n" * 300 + b"content-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_could_be_read_in_two_ways_is_refused(
    connect: Connect, name: str
) -> None:
    """As an upstream that failed, not one that is away; and its connection is closed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK if peer.number else BAD_ANSWERS[name])
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url, max_connections=1, timeouts=Timeouts(first_byte=5, idle=5))
        with pytest.raises(UpstreamFailed, match="answer") as caught:
            await exchange(client, get())
        status, _, body = await exchange(client, get())

    assert not isinstance(caught.value, UpstreamUnreachable | UpstreamTimeout)
    assert (status, body) == (200, b"ok")
    assert len(server.peers) == 2


async def test_what_comes_behind_an_answer_is_not_the_next_one(connect: Connect) -> None:
    """A second answer that nobody asked for must not reach the next caller."""
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await idle.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await peer.hold()

    async with serving(script) as server:
        client = connect(server.url, max_connections=1)
        _, _, first = await exchange(client, get())
        sent = server.peers[0].sent
        idle.set()
        await until(lambda: server.peers[0].sent > sent)
        for _ in range(10):
            await asyncio.sleep(0)
        _, _, second = await exchange(client, get())

    assert [first, second] == [b"ok", b"ok"]
    assert len(server.peers) == 2


BAD_REQUESTS = {
    "LF in a value": UpstreamRequest(b"GET", b"/", [(b"x", b"a\nb: c")]),
    "CR in a value": UpstreamRequest(b"GET", b"/", [(b"x", b"a\rb")]),
    "CRLF in a value": UpstreamRequest(b"GET", b"/", [(b"x", b"a\r\nb: c")]),
    "NUL in a value": UpstreamRequest(b"GET", b"/", [(b"x", b"a\x00b")]),
    "DEL in a value": UpstreamRequest(b"GET", b"/", [(b"x", b"a\x7fb")]),
    "CRLF in a name": UpstreamRequest(b"GET", b"/", [(b"x: y\r\nz", b"a")]),
    "colon in a name": UpstreamRequest(b"GET", b"/", [(b"x:", b"a")]),
    "space in a name": UpstreamRequest(b"GET", b"/", [(b"x ", b"a")]),
    "no name": UpstreamRequest(b"GET", b"/", [(b"", b"a")]),
    "name not ASCII": UpstreamRequest(b"GET", b"/", [("ü".encode(), b"a")]),
    "space in the target": UpstreamRequest(b"GET", b"/a b", []),
    "CRLF in the target": UpstreamRequest(b"GET", b"/ HTTP/1.1\r\nx: y\r\n\r\n", []),
    "NUL in the target": UpstreamRequest(b"GET", b"/\x00", []),
    "target not ASCII": UpstreamRequest(b"GET", "/ü".encode(), []),
    "fragment in the target": UpstreamRequest(b"GET", b"/#a", []),
    "absolute target": UpstreamRequest(b"GET", b"http://elsewhere/", []),
    "target without slash": UpstreamRequest(b"GET", b"x", []),
    "space in the method": UpstreamRequest(b"GET /x", b"/", []),
    "no method": UpstreamRequest(b"", b"/", []),
    "tunnel": UpstreamRequest(b"CONNECT", b"/", []),
    "transfer-encoding": UpstreamRequest(b"POST", b"/", [(b"transfer-encoding", b"chunked")], b"a"),
    "connection": UpstreamRequest(b"GET", b"/", [(b"Connection", b"close")]),
    "upgrade": UpstreamRequest(b"GET", b"/", [(b"upgrade", b"h2c")]),
    "te": UpstreamRequest(b"GET", b"/", [(b"te", b"trailers")]),
    "two hosts": UpstreamRequest(b"GET", b"/", [(b"host", b"a"), (b"Host", b"b")]),
    "two lengths": UpstreamRequest(
        b"POST", b"/", [(b"content-length", b"1"), (b"content-length", b"1")], b"a"
    ),
    "wrong length": UpstreamRequest(b"POST", b"/", [(b"content-length", b"2")], b"a"),
    "length no number": UpstreamRequest(b"POST", b"/", [(b"content-length", b"+1")], b"a"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_request_that_could_become_two_is_not_sent(connect: Connect, name: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with serving(script) as server:
        with pytest.raises(UpstreamFailed, match="can't be forwarded") as caught:
            await connect(server.url).send(BAD_REQUESTS[name])

    assert caught.value.sent is False
    assert server.peers == []


async def test_a_refusal_does_not_show_the_value(connect: Connect) -> None:
    """It could be a key."""
    request = UpstreamRequest(b"GET", b"/", [(b"authorization", b"Bearer sk-secret\n")])
    with pytest.raises(UpstreamFailed) as caught:
        await connect("http://127.0.0.1:1").send(request)

    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("pieces", [[b"ab"], [b"ab", b"cd"]])
async def test_a_streamed_body_keeps_the_length_that_was_said(
    connect: Connect, pieces: list[bytes]
) -> None:
    """One byte too few or too many would be the beginning of another request."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.hold()

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    request = UpstreamRequest(b"POST", b"/", [(b"content-length", b"3")], body())
    async with serving(script) as server:
        with pytest.raises(UpstreamFailed) as caught:
            await connect(server.url).send(request)

    assert not isinstance(caught.value, UpstreamUnreachable | UpstreamTimeout)
