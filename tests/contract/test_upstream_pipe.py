"""What both upstream clients do with an answer that goes straight to who takes it."""

import asyncio
from functools import partial

import pytest

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts, UpstreamResponse
from tests.contract.upstream_server import Connect, Peer, answering, post, serving, stalling

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def extended(whole: bytearray, piece: bytes) -> bool:
    whole.extend(piece)
    return True


class Taker:
    """Takes every piece, and tells that one came."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.arrived = asyncio.Event()

    def __call__(self, piece: bytes) -> bool:
        """It wants more."""
        self.taken.append(piece)
        self.arrived.set()
        return True


async def rest_of(response: UpstreamResponse) -> bytes:
    rest = b""
    while data := await response.read():
        rest += data
    return rest


async def test_a_piece_is_handed_over_before_the_next_one_is_sent(connect: Connect) -> None:
    """The upstream waits for each to have arrived: nothing is kept back to be handed over together."""
    taker = Taker()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for piece in (b"a", b"b", b"c"):
            taker.arrived.clear()
            await peer.send(chunk(piece))
            await taker.arrived.wait()
        await peer.send(END)
        await peer.hold()

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        last = await response.pipe(taker)

    assert (taker.taken, last) == ([b"a", b"b", b"c"], b"")


async def test_the_connection_is_used_again_after_it(connect: Connect) -> None:
    async with serving(answering(HEAD + chunk(b"abc") + END)) as server:
        client = connect(server.url)
        for _ in range(3):
            response = await client.send(post())
            whole = bytearray()
            last = await response.pipe(partial(extended, whole))
            assert whole + (last or b"") + await rest_of(response) == b"abc"
            await response.aclose()

    assert len(server.peers) == 1


async def test_who_wants_no_more_for_now_loses_nothing(connect: Connect) -> None:
    """What comes in between waits, and is handed over first when it goes on."""
    pieces = [b"%d" % n for n in range(10, 30)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for piece in pieces:
            await peer.send(chunk(piece))
            await asyncio.sleep(0)
        await peer.send(END)
        await peer.hold()

    taken: list[bytes] = []

    def sink(piece: bytes) -> bool:
        taken.append(piece)
        return False

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        stops = 0
        while (last := await response.pipe(sink)) is None:
            stops += 1

    assert b"".join(taken) + last == b"".join(pieces)
    assert stops == len(taken)


async def test_what_the_sink_raises_reaches_who_waits(connect: Connect) -> None:
    """And the answer can be closed as usual."""

    def sink(piece: bytes) -> bool:
        raise ZeroDivisionError(piece)

    async with serving(stalling(HEAD, chunk(b"a"))) as server:
        response = await connect(server.url).send(post())
        with pytest.raises(ZeroDivisionError, match="a"):
            await response.pipe(sink)
        await response.aclose()

    assert response.over is False


async def test_what_came_before_a_break_is_handed_over(connect: Connect) -> None:
    taker = Taker()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"a"))
        await peer.send(chunk(b"b"))

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        with pytest.raises(UpstreamUnreachable):
            await response.pipe(taker)

    assert b"".join(taker.taken) == b"ab"


async def test_silence_in_between_is_a_time_out(connect: Connect) -> None:
    """Counted from the last piece."""
    taker = Taker()

    async with serving(stalling(HEAD, chunk(b"a"))) as server:
        response = await connect(server.url, timeouts=Timeouts(idle=0.1)).send(post())
        with pytest.raises(UpstreamTimeout):
            await response.pipe(taker)

    assert taker.taken == [b"a"]


async def test_giving_up_closes_the_connection_and_the_sink_gets_no_more(connect: Connect) -> None:
    taker = Taker()
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"a"))
        await peer.hold()
        closed.set()

    async with serving(script) as server:
        response = await connect(server.url).send(post())
        piping = asyncio.ensure_future(response.pipe(taker))
        await taker.arrived.wait()
        piping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await piping
        await response.aclose()
        await asyncio.wait_for(closed.wait(), 10)

    assert taker.taken == [b"a"]
