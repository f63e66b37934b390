"""Sides that go away in the middle of a response: it is a row all the same."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.realtime.conftest import Begin, Both, eventually, until
from tests.e2e.realtime.provider import Provider
from tests.e2e.realtime.test_sessions import CREATE, PRICE


async def test_a_client_that_leaves_ends_its_response_which_says_what_it_used(
    begin: Begin,
) -> None:
    """Cancelled at the provider, whose last word has the usage."""
    async with begin(Provider(holds_back=True)) as both:
        async with both.connect() as socket:
            await socket.send(CREATE)
            await until(socket, "response.created")
            await both.provider.began.wait()

        (row,) = await both.rows()
        assert "response.cancel" in both.provider.heard_kinds()
        assert row["usage_source"] == "provider"
        assert await both.clean() == PRICE


async def test_an_upstream_that_dies_leaves_a_counted_row(begin: Begin) -> None:
    """Text by its tokens, sound by its length; the client sees the session break."""
    async with begin(Provider(holds_back=True)) as both:
        async with both.connect() as socket:
            await socket.send(json.dumps({"type": "session.update", "session": {"x": "y" * 400}}))
            await socket.send(CREATE)
            await until(socket, "response.created")
            await both.provider.began.wait()
            both.provider.sockets[0].transport.abort()
            with pytest.raises(ConnectionClosed) as closed:
                await until(socket, "never")

        (row,) = await both.rows()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert (row["usage_source"], row["outcome"]) == ("counted", "upstream_failed")
        # Three times "word" and a blank, and three tenths of a second at twenty tokens each.
        assert row["output_tokens"] == 6 + 6
        assert row["input_tokens"] > 100
        assert await both.clean() > 0


async def test_a_client_that_leaves_before_the_session_is_open_costs_nothing(begin: Begin) -> None:
    """What was held for its first response is given back."""
    provider = Provider(opens=asyncio.Event())
    async with begin(provider) as both:
        opening = asyncio.create_task(_open(both))
        await eventually(lambda: _asked(provider))
        opening.cancel()
        await asyncio.wait((opening,))
        assert provider.opens is not None
        provider.opens.set()

        assert await both.clean() == 0
        assert await both.rows() == []


async def _open(both: Both) -> None:
    async with both.connect():
        raise AssertionError("nobody opened it")


async def _asked(provider: Provider) -> bool:
    return len(provider.requests) == 1


async def test_a_stop_waits_for_the_response_under_way(begin: Begin) -> None:
    """Then the client gets 1001."""
    provider = Provider(holds_back=True)
    async with AsyncExitStack() as stack:
        both = await stack.enter_async_context(begin(provider))
        async with both.connect() as socket:
            await socket.send(CREATE)
            await until(socket, "response.created")
            await provider.began.wait()
            stopping = asyncio.create_task(stack.aclose())
            provider.go.set()
            await until(socket, "response.done")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        await stopping

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    async with begin() as again:
        (row,) = await again.rows()
        assert (row["outcome"], await again.clean()) == ("completed", PRICE)


async def test_a_stop_does_not_wait_forever(begin: Begin) -> None:
    """When the time that calls have to finish is up, what came by then is counted."""
    provider = Provider(holds_back=True)
    async with begin(provider, grace_s=1) as both:
        socket = await both.connect()
        await socket.send(CREATE)
        await until(socket, "response.created")
        await provider.began.wait()
    await socket.wait_closed()

    async with begin() as again:
        (row,) = await again.rows()
        assert (row["outcome"], row["usage_source"]) == ("lost", "counted")
        assert await again.clean() > 0
