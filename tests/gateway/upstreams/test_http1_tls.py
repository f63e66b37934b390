"""TLS sessions are resumed, on both event loops."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.gateway.upstreams.http1 import Http1Client
from tests.contract.upstream_server import OK, exchange, post
from tests.contract.upstream_tls import issue, serving_tls

CLOSING = OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")


@pytest.mark.parametrize("answer", [OK, CLOSING])
async def test_a_new_connection_resumes_the_session_of_the_last(
    connect: Callable[..., Http1Client], answer: bytes, tmp_path: Path
) -> None:
    """The server has no need to prove itself again, and the handshake is shorter."""
    ours = issue(tmp_path, "ours", "IP:127.0.0.1")
    async with serving_tls(ours, answer) as server:
        client = connect(server.url, ca_file=str(ours.certificate))
        for _ in range(3):
            await exchange(client, post())
            if client._pool._idle:
                client._pool._idle[0].expire(0.0)

    assert server.resumed == [False, True, True]
