"""What the httpx adapter is there for: outbound proxies."""

import pytest

from proxy.core.errors import UpstreamUnreachable
from proxy.gateway.upstreams.base import UpstreamRequest
from proxy.gateway.upstreams.httpx_client import HttpxClient
from tests.contract.upstream_server import OK, answering, exchange, serving


async def test_calls_go_through_the_outbound_proxy() -> None:
    """With the upstream's own host, and the proxy's credentials."""
    async with serving(answering(OK)) as server:
        client = HttpxClient(
            "http://upstream.example/v1", proxy=server.url.replace("//", "//user:password@")
        )
        status, _, body = await exchange(client, UpstreamRequest(b"GET", b"/models?a=%20", []))
        await client.aclose()

    (received,) = server.requests
    assert (status, body) == (200, b"ok")
    assert received.line == b"GET http://upstream.example/v1/models?a=%20 HTTP/1.1"
    assert received.values(b"host") == [b"upstream.example"]
    assert received.values(b"proxy-authorization") == [b"Basic dXNlcjpwYXNzd29yZA=="]


async def test_tls_goes_through_a_tunnel() -> None:
    """What is refused there was not sent: the upstream has seen nothing."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(refusal)) as server:
        client = HttpxClient("https://upstream.example/v1", proxy=server.url)
        with pytest.raises(UpstreamUnreachable, match="407") as caught:
            await client.send(UpstreamRequest(b"GET", b"/models", []))
        await client.aclose()

    assert [one.line for one in server.requests] == [b"CONNECT upstream.example:443 HTTP/1.1"]
    assert caught.value.sent is False
