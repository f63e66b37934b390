"""What both upstream clients make of an answer, and how they read it."""

import asyncio
import gzip
import os

import pytest

from tests.contract.upstream_server import (
    Connect,
    Peer,
    answering,
    body_of,
    exchange,
    get,
    serving,
    settled,
)

EVERY_BYTE = bytes(range(256)) * 3
MEBIBYTE = 1 << 20


async def test_headers_come_in_order_with_repeats_and_without_those_of_the_connection(
    connect: Connect,
) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nX-B: 1\r\nSet-Cookie: a\r\nConnection: keep-alive, X-Hop\r\n"
        b"x-hop: gone\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTE: trailers\r\n"
        b"Upgrade: h2c\r\nTrailer: x-t\r\nset-cookie: b\r\nx-obs: caf\xe9\r\nx-empty:\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    async with serving(answering(answer)) as server:
        status, headers, body = await exchange(connect(server.url), get())

    assert (status, body) == (200, b"ok")
    assert headers == [
        (b"x-b", b"1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x-obs", b"caf\xe9"),
        (b"x-empty", b""),
        (b"content-length", b"2"),
    ]


FRAMINGS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 768\r\n\r\n" + EVERY_BYTE,
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"1;ext=1\r\n\x00\r\n2FE\r\n" + EVERY_BYTE[1:-1] + b"\r\n1\r\n\xff\r\n0\r\nx-t: 1\r\n\r\n",
    "to the end": b"HTTP/1.1 200 OK\r\n\r\n" + EVERY_BYTE,
    "http/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + EVERY_BYTE,
    "after interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\ncontent-length: 768\r\n\r\n" + EVERY_BYTE,
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_the_body_is_the_same_however_it_is_cut(
    connect: Connect, framing: str, size: int
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_in_pieces(FRAMINGS[framing], size)

    async with serving(script) as server:
        status, headers, body = await exchange(connect(server.url), get())

    assert (status, body) == (200, EVERY_BYTE)
    assert not {name for name, _ in headers} & {b"transfer-encoding", b"x-t", b"link"}


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_ends_with_its_head(
    connect: Connect, method: bytes, head: bytes
) -> None:
    """Also where its headers speak of a length; and its connection goes on."""
    async with serving(answering(head)) as server:
        client = connect(server.url)
        bodies = [(await exchange(client, get(method=method)))[2] for _ in range(2)]

    assert bodies == [b"", b""]
    assert len(server.peers) == 1


async def test_nothing_is_decoded(connect: Connect) -> None:
    packed = gzip.compress(b"plain")
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(
        packed
    )
    async with serving(answering(answer + packed)) as server:
        _, headers, body = await exchange(connect(server.url), get())

    assert body == packed
    assert (b"content-encoding", b"gzip") in headers


async def test_each_event_arrives_before_the_next_is_sent(connect: Connect) -> None:
    """A stream is not held back until more of it has come."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            await peer.send(b"8\r\ndata: %d\n\r\n" % number)
            await go_on.wait()
            go_on.clear()
        await peer.send(b"0\r\n\r\n")

    events = []
    async with serving(script) as server:
        response = await connect(server.url).send(get())
        while data := await response.read():
            events.append(data)
            go_on.set()
        await response.aclose()

    assert events == [b"data: 0\n", b"data: 1\n", b"data: 2\n"]


async def endless(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 * MEBIBYTE))
    for _ in range(256):
        await peer.send(bytes(MEBIBYTE // 4))


async def test_a_slow_reader_slows_the_upstream(connect: Connect) -> None:
    """While nobody reads, the upstream gets rid of no more than buffers hold."""
    async with serving(endless) as server:
        response = await connect(server.url).send(get())
        at_most = await settled(lambda: server.peers[0].sent)
        body = await body_of(response)

    assert at_most < 16 * MEBIBYTE
    assert len(body) == 64 * MEBIBYTE


async def test_memory_stays_flat_for_a_large_answer(connect: Connect) -> None:
    """256 MiB go through without more than 24 MiB being there at any time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        piece = bytes(MEBIBYTE)
        for _ in range(256):
            await peer.send(piece)

    total, before, most = 0, resident(), 0
    async with serving(script) as server:
        response = await connect(server.url).send(get())
        while data := await response.read():
            total += len(data)
            most = max(most, resident())
        await response.aclose()

    assert total == 256 * MEBIBYTE
    assert most - before < 24 * MEBIBYTE


def resident() -> int:
    """Bytes of this process in memory, now."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - read hundreds of times
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pytest.skip("needs /proc")
