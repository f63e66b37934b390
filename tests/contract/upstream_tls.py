"""An upstream behind TLS, with a certificate made for the test."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.upstream_server import OK


@dataclass(frozen=True)
class Certificate:
    """Self-signed, so it is its own authority. PEM files."""

    certificate: Path
    key: Path


def issue(folder: Path, name: str, alternative: str) -> Certificate:
    """A certificate made by the openssl command."""
    files = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={alternative}"),
            *("-keyout", str(files.key), "-out", str(files.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return files


@dataclass
class TlsServer:
    """What a test asks afterwards."""

    url: str = ""
    resumed: list[bool] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)
    connections: int = 0


@contextlib.asynccontextmanager
async def serving_tls(certificate: Certificate, answer: bytes = OK) -> AsyncIterator[TlsServer]:
    """Answer every request on a TLS connection alike."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = TlsServer()
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        connection = writer.get_extra_info("ssl_object")
        server.connections += 1
        server.resumed.append(connection.session_reused)
        server.protocols.append(connection.selected_alpn_protocol())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"content-length: 2" in head:
                    await reader.readexactly(2)
                writer.write(answer)
                await writer.drain()
                if b"content-length" not in answer:
                    break
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    server.url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
