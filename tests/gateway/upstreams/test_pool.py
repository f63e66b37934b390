"""What happens to a connection between two turns of the loop, when nobody holds it."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.core.errors import UpstreamUnreachable
from proxy.gateway.upstreams.http1 import Http1Client
from proxy.gateway.upstreams.pool import ConnectionPool
from tests.contract.upstream_server import OK, answering, exchange, post, serving, until

Connect = Callable[..., Http1Client]


async def waiter_behind(pool: ConnectionPool) -> asyncio.Future[object]:
    """Somebody who waits for the only connection, which is busy."""
    waiting: asyncio.Future[object] = asyncio.ensure_future(pool.open())
    await asyncio.sleep(0)
    assert repr(pool) == "[active: 1, idle: 0, waiting: 1]"
    return waiting


async def test_a_connection_given_to_who_is_cancelled_is_free_again(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        pool = connect(server.url, max_connections=1)._pool
        connection = await pool.open()
        waiting = await waiter_behind(pool)
        pool.give(connection)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert repr(pool) == "[active: 0, idle: 1, waiting: 0]"
        assert pool.take() is connection


async def test_a_slot_given_to_who_is_cancelled_goes_to_the_next(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        pool = connect(server.url, max_connections=1)._pool
        connection = await pool.open()
        waiting = await waiter_behind(pool)
        patient = asyncio.ensure_future(pool.open())
        await asyncio.sleep(0)
        connection.fail(UpstreamUnreachable("broken"))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        served = await patient

        assert served.closed is False
        assert repr(pool) == "[active: 1, idle: 0, waiting: 0]"


async def test_a_connection_that_dies_as_it_is_given_is_replaced(connect: Connect) -> None:
    """Who gets it has not seen it yet: it is nobody's failure."""
    async with serving(answering(OK)) as server:
        pool = connect(server.url, max_connections=1)._pool
        connection = await pool.open()
        waiting = await waiter_behind(pool)
        pool.give(connection)
        connection.fail(UpstreamUnreachable("broken"))
        served = await waiting

        assert served is not connection
        assert len(server.peers) == 2
        assert repr(pool) == "[active: 1, idle: 0, waiting: 0]"


async def test_a_connection_that_is_closing_is_not_taken(connect: Connect) -> None:
    """Its transport knows already, its protocol not yet."""
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        await exchange(client, post())
        client._pool._idle[0].transport.close()
        _, _, body = await exchange(client, post())

    assert body == b"ok"
    assert len(server.peers) == 2


async def test_a_fresh_connection_takes_the_place_of_an_idle_one(connect: Connect) -> None:
    """The second attempt of a call must not wait for somebody to give an idle one back."""
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=1)
        await exchange(client, post())
        fresh = await client._pool.open(fresh=True)

        assert fresh.used is False
        assert repr(client._pool) == "[active: 1, idle: 0, waiting: 0]"
        await until(lambda: server.peers[0].socket.fileno() == -1)


async def test_a_client_closed_while_it_connects_keeps_nothing(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        call = asyncio.ensure_future(client.send(post()))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(UpstreamUnreachable) as caught:
            await call

    assert caught.value.sent is False
    assert repr(client) == "<Http1Client [active: 0, idle: 0, waiting: 0]>"
