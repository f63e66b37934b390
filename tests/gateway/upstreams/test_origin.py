"""Base URLs, and which client they get."""

import subprocess
import sys

import pytest

from proxy.core.errors import ConfigurationError
from proxy.gateway.upstreams import build_client
from proxy.gateway.upstreams.http1 import Http1Client
from proxy.gateway.upstreams.httpx_client import HttpxClient
from proxy.gateway.upstreams.origin import Origin, parse_origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", Origin("http", "a", 80, b"a", b"")),
        ("https://a/", Origin("https", "a", 443, b"a", b"")),
        ("https://API.example/v1/", Origin("https", "api.example", 443, b"api.example", b"/v1")),
        ("http://a:443/x%20y", Origin("http", "a", 443, b"a:443", b"/x%20y")),
        ("https://a:443", Origin("https", "a", 443, b"a", b"")),
        ("http://[::1]:8000", Origin("http", "::1", 8000, b"[::1]:8000", b"")),
        ("http://[::1]", Origin("http", "::1", 80, b"[::1]", b"")),
        (
            "http://bücher.example",
            Origin("http", "xn--bcher-kva.example", 80, b"xn--bcher-kva.example", b""),
        ),
    ],
)
def test_a_base_url_is_taken_apart(url: str, expected: Origin) -> None:
    assert parse_origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example/v1",
        "ftp://a",
        "http://",
        "http://a:port",
        "http://a:99999",
        "http://user:password@a",
        "http://a/v1?x=1",
        "http://a/v1#x",
        "http://a/ü",
        "http://a/x y",
        "http://[::1",
        "http://" + "ü" * 300,
    ],
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        parse_origin(url)


def test_a_refused_base_url_does_not_show_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_origin("http://user:hunter2@a/v1")

    assert "hunter2" not in str(caught.value)


async def test_the_client_is_ours_unless_something_needs_httpx() -> None:
    clients = [
        build_client("http://a"),
        build_client("https://a", client="http1"),
        build_client("http://a", client="httpx"),
        build_client("http://a", proxy="http://127.0.0.1:3128"),
    ]
    for client in clients:
        await client.aclose()

    assert [type(client) for client in clients] == [
        Http1Client,
        Http1Client,
        HttpxClient,
        HttpxClient,
    ]


def test_an_outbound_proxy_must_be_one() -> None:
    with pytest.raises(ConfigurationError, match="httpx"):
        build_client("http://a", proxy="gopher://127.0.0.1")


def test_httpx_is_not_imported_for_our_own_client() -> None:
    """It takes a tenth of a second, and its memory, in every worker."""
    code = (
        "import sys; from proxy.gateway.upstreams import build_client; build_client('http://a');"
        "sys.exit('httpx' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
