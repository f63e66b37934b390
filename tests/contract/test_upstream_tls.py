"""What both upstream clients demand of a server's certificate."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from proxy.core.errors import ConfigurationError, UpstreamUnreachable
from tests.contract.upstream_server import OK, Connect, body_of, exchange, get, post
from tests.contract.upstream_tls import Certificate, issue, serving_tls


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("tls"), "ours", "IP:127.0.0.1")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("tls"), "elsewhere", "DNS:elsewhere.example")


async def test_a_certificate_of_the_given_authority_is_accepted(
    connect: Connect, ours: Certificate
) -> None:
    async with serving_tls(ours) as server:
        client = connect(server.url, ca_file=str(ours.certificate))
        answers = [await exchange(client, post()) for _ in range(3)]

    assert [(status, body) for status, _, body in answers] == [(200, b"ok")] * 3
    assert server.connections == 1
    assert server.protocols == ["http/1.1"]


async def test_an_unknown_authority_is_refused(connect: Connect, ours: Certificate) -> None:
    """Nothing was sent: a key must not reach somebody else."""
    async with serving_tls(ours) as server:
        with pytest.raises(UpstreamUnreachable, match=r"(?i)certificate") as caught:
            await connect(server.url).send(post())

    assert caught.value.sent is False


async def test_the_certificate_of_another_host_is_refused(
    connect: Connect, elsewhere: Certificate
) -> None:
    async with serving_tls(elsewhere) as server:
        client = connect(server.url, ca_file=str(elsewhere.certificate))
        with pytest.raises(UpstreamUnreachable, match=r"(?i)certificate") as caught:
            await client.send(post())

    assert caught.value.sent is False


async def test_verification_is_off_only_where_told(
    connect: Connect, elsewhere: Certificate
) -> None:
    async with serving_tls(elsewhere) as server:
        status, _, body = await exchange(connect(server.url, verify_tls=False), post())

    assert (status, body) == (200, b"ok")


async def test_large_answers_come_through_tls(connect: Connect, ours: Certificate) -> None:
    payload = bytes(range(256)) * 40_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload
    async with serving_tls(ours, answer) as server:
        client = connect(server.url, ca_file=str(ours.certificate))
        bodies = [(await exchange(client, get()))[2] for _ in range(2)]

    assert bodies == [payload, payload]
    assert server.connections == 1


async def test_an_answer_may_end_with_the_tls_connection(
    connect: Connect, ours: Certificate
) -> None:
    async with serving_tls(ours, b"HTTP/1.1 200 OK\r\n\r\nto the end") as server:
        client = connect(server.url, ca_file=str(ours.certificate))
        response = await client.send(get())
        body = await body_of(response)

    assert body == b"to the end"


async def test_a_server_without_tls_is_unreachable(connect: Connect) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamUnreachable) as caught:
        await connect(f"https://127.0.0.1:{port}").send(post())
    listener.close()

    assert caught.value.sent is False


async def test_a_ca_file_must_be_one(connect: Connect, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for path, says in ((wrong, "holds no certificate"), (tmp_path / "none.pem", "no file")):
        with pytest.raises(ConfigurationError, match=says):
            connect("https://127.0.0.1:1", ca_file=str(path))
