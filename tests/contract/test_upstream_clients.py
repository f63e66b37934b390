"""What both upstream clients do with a server that keeps the rules."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Timeouts, UpstreamRequest
from tests.contract.upstream_server import (
    OK,
    Connect,
    Peer,
    answering,
    exchange,
    get,
    pieces,
    post,
    serving,
    settled,
    stalling,
    until,
)

EVERY_BYTE = bytes(range(256)) * 3
MEBIBYTE = 1 << 20


# The request on the wire


async def test_only_host_and_length_are_added_to_the_headers(connect: Connect) -> None:
    """No user-agent, no accept, no accept-encoding; order and repeats stay."""
    headers = [
        (b"x-b", b"1"),
        (b"content-type", b"application/json"),
        (b"x-a", b"2"),
        (b"x-b", b"3"),
    ]
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), post(b"{}", headers))

    (received,) = server.requests
    host = (b"host", f"127.0.0.1:{server.port}".encode())
    assert received.headers == [host, *headers, (b"content-length", b"2")]
    assert received.body == b"{}"


async def test_a_host_handed_in_is_sent_instead(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), post(headers=[(b"host", b"resource.example")]))

    assert server.requests[0].values(b"host") == [b"resource.example"]


async def test_a_length_handed_in_is_not_doubled(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), post(b"abc", [(b"content-length", b"3")]))

    assert server.requests[0].values(b"content-length") == [b"3"]


@pytest.mark.parametrize(
    ("method", "lengths"), [(b"GET", []), (b"DELETE", []), (b"POST", [b"0"]), (b"PUT", [b"0"])]
)
async def test_an_empty_body_has_a_length_where_one_is_expected(
    connect: Connect, method: bytes, lengths: list[bytes]
) -> None:
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), get(method=method))

    assert server.requests[0].values(b"content-length") == lengths
    assert server.requests[0].values(b"transfer-encoding") == []


@pytest.mark.parametrize(
    ("base", "target", "expected"),
    [
        ("", b"/", b"/"),
        ("", b"", b"/"),
        ("", b"?a=b", b"/?a=b"),
        ("/v1", b"/chat/completions?x=1", b"/v1/chat/completions?x=1"),
        ("/v1/", b"/models", b"/v1/models"),
        ("/v1", b"", b"/v1"),
        (
            "/a%20b",
            b"/%2f%2F/.././/x?q=%zz&r=a+b%20c&&=",
            b"/a%20b/%2f%2F/.././/x?q=%zz&r=a+b%20c&&=",
        ),
        ("", b"/{}|\\^`\"<>'()", b"/{}|\\^`\"<>'()"),
    ],
)
async def test_the_target_goes_out_as_handed_in(
    connect: Connect, base: str, target: bytes, expected: bytes
) -> None:
    """Below the base URL's path, with nothing normalised or quoted again."""
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url + base), get(target))

    assert server.requests[0].line == b"GET " + expected + b" HTTP/1.1"


async def test_the_methods_case_is_kept(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), get(method=b"pUrGe"))

    assert server.requests[0].line == b"pUrGe / HTTP/1.1"


async def test_nothing_of_the_environment_counts(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(answering(OK)) as server:
        status, _, _ = await exchange(connect(server.url), get())

    assert status == 200


async def test_no_cookies_are_kept_and_no_redirects_followed(connect: Connect) -> None:
    answer = (
        b"HTTP/1.1 302 Found\r\nset-cookie: a=b; Path=/\r\nlocation: /elsewhere\r\n"
        b"content-length: 0\r\n\r\n"
    )
    async with serving(answering(answer)) as server:
        client = connect(server.url)
        first, headers, _ = await exchange(client, get(b"/one"))
        await exchange(client, get(b"/two"))

    assert first == 302
    assert (b"location", b"/elsewhere") in headers
    assert [one.line for one in server.requests] == [b"GET /one HTTP/1.1", b"GET /two HTTP/1.1"]
    assert server.requests[1].values(b"cookie") == []


# Request bodies


async def test_a_body_of_unknown_length_is_chunked(connect: Connect) -> None:
    """Empty pieces are left out: they would be the end."""
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), post(pieces(b"one", b"", EVERY_BYTE, b"two")))

    assert server.requests[0].body == b"one" + EVERY_BYTE + b"two"
    assert server.requests[0].values(b"transfer-encoding") == [b"chunked"]
    assert server.requests[0].values(b"content-length") == []


async def test_a_streamed_body_may_say_its_length(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        await exchange(connect(server.url), post(pieces(b"ab", b"c"), [(b"content-length", b"3")]))

    assert server.requests[0].body == b"abc"
    assert server.requests[0].values(b"transfer-encoding") == []


async def test_a_streamed_body_leaves_the_connection_usable(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        for _ in range(3):
            await exchange(client, post(pieces(b"abc")))

    assert len(server.peers) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_large_body_arrives_whole(connect: Connect, streamed: bool) -> None:
    body = os.urandom(5 * MEBIBYTE)
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        cut = [body[i : i + 100_000] for i in range(0, len(body), 100_000)]
        await exchange(client, post(pieces(*cut) if streamed else body))
        await exchange(client, post(b"next"))

    assert server.requests[0].body == body
    assert len(server.peers) == 1


async def test_a_slow_upstream_slows_the_upload(connect: Connect) -> None:
    """While it takes nothing, no more than the kernel's buffers is drawn from the body."""
    drawn, go_on = 0, asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal drawn
        for _ in range(64):
            drawn += MEBIBYTE
            yield bytes(MEBIBYTE)

    async def script(peer: Peer) -> None:
        await peer.head()
        await go_on.wait()
        for _ in range(64):
            await peer.until(b"\r\n")
            await peer.exactly(MEBIBYTE + 2)
        await peer.send(OK)
        await peer.hold()

    async with serving(script, receive_buffer=65_536) as server:
        call = asyncio.ensure_future(exchange(connect(server.url), post(body())))
        await until(lambda: drawn > 0)
        at_most = await settled(lambda: drawn)
        go_on.set()
        status, _, _ = await call

    assert at_most < 16 * MEBIBYTE
    assert (status, drawn) == (200, 64 * MEBIBYTE)


# Connections


async def test_a_connection_is_used_again(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        for _ in range(5):
            await exchange(client, post())

    assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: X, CLOSE\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_is_to_be_closed_is_not_used_again(
    connect: Connect, answer: bytes
) -> None:
    async with serving(answering(answer)) as server:
        client = connect(server.url)
        bodies = [(await exchange(client, post()))[2] for _ in range(2)]

    assert bodies == [b"ok", b"ok"]
    assert len(server.peers) == 2


async def test_an_answer_closed_before_its_end_costs_its_connection(connect: Connect) -> None:
    async with serving(stalling(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")) as server:
        client = connect(server.url, max_connections=1)
        for _ in range(2):
            response = await client.send(post())
            assert await response.read() == b"abc"
            await response.aclose()
            await response.aclose()

    assert len(server.peers) == 2


async def test_a_call_waits_where_all_connections_are_busy(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url, max_connections=2)
        bodies = await asyncio.gather(*(exchange(client, post()) for _ in range(20)))

    assert [body for _, _, body in bodies] == [b"ok"] * 20
    assert len(server.peers) <= 2


async def test_waiting_for_a_connection_ends_in_a_time_out(connect: Connect) -> None:
    """After the connect time-out; nothing was sent, so another upstream may be asked."""
    async with serving(stalling(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")) as server:
        client = connect(server.url, max_connections=1, timeouts=Timeouts(connect=0.2))
        busy = await client.send(post())
        with pytest.raises(UpstreamTimeout) as caught:
            await client.send(post())
        await busy.aclose()

    assert caught.value.sent is False
    assert len(server.requests) == 1


async def test_a_closed_client_sends_nothing(connect: Connect) -> None:
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        await exchange(client, post())
        await client.aclose()
        await client.aclose()
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(post())

    assert caught.value.sent is False
    assert len(server.requests) == 1


async def test_a_request_may_be_sent_again(connect: Connect) -> None:
    """Nothing in it is used up, unless its body is an iterator."""
    request = UpstreamRequest(b"POST", b"/", [(b"x-a", b"1")], b"same")
    async with serving(answering(OK)) as server:
        client = connect(server.url)
        await exchange(client, request)
        await exchange(client, request)

    assert server.requests[0] == server.requests[1]
