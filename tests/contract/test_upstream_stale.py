"""A connection that had been used, and broke without a byte of an answer: worth a second attempt."""

from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import UpstreamUnreachable
from tests.contract.upstream_server import (
    Connect,
    Peer,
    dying_on_reuse,
    exchange,
    post,
    serving,
)


async def test_a_connection_that_dies_at_the_moment_of_use_is_stale(connect: Connect) -> None:
    """Nothing is sent again here: whoever does has it in the ledger first."""
    async with serving(dying_on_reuse) as server:
        client = connect(server.url)
        await exchange(client, post())
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(post(b"once"))

    assert (caught.value.sent, caught.value.stale) == (True, True)
    assert [one.body for one in server.requests] == [b"{}", b"once"]


async def test_a_new_connection_is_never_stale(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with serving(script) as server:
        with pytest.raises(UpstreamUnreachable) as caught:
            await connect(server.url).send(post())

    assert (caught.value.sent, caught.value.stale) == (True, False)


async def test_a_streamed_body_is_not_stale(connect: Connect) -> None:
    """It can't be had again."""

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with serving(dying_on_reuse) as server:
        client = connect(server.url)
        await exchange(client, post())
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(post(body()))

    assert caught.value.stale is False
    assert len(server.requests) == 2
