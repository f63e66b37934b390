"""HTTP/1.1 as bytes: nothing here smooths over what was sent or what came."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Headers = list[tuple[bytes, bytes]]
_PATIENCE_S = 20
_NO_BODY = (204, 304)
_INTERIM = 200  # a status below it only announces an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers
    body: bytes
    whole: bool  # the body ended as its head had promised

    def value(self, name: bytes) -> bytes:
        """The only header of this name; b"" where there is none."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, values
        return values[0] if values else b""

    @property
    def error(self) -> dict[str, Any]:
        """The error in it, which has to have OpenAI's shape."""
        assert self.value(b"content-type") == b"application/json", (self.headers, self.body)
        document = json.loads(self.body)
        assert set(document) == {"error"}
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert isinstance(error["type"], str)
        assert isinstance(error["code"], str)
        return error


class Wire:
    """A client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Write bytes; a server that has closed does not matter yet: it may have answered before."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def answer(self, method: str = "POST") -> Answer:
        """Read one answer."""
        async with asyncio.timeout(_PATIENCE_S):
            status, headers = await self._head()
            while status < _INTERIM:
                status, headers = await self._head()
            body, whole = await self._body(status, headers, method)
        return Answer(status, headers, body, whole)

    async def closed(self) -> bool:
        """Whether the server closes and sends nothing more before."""
        async with asyncio.timeout(_PATIENCE_S):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True

    async def _head(self) -> tuple[int, Headers]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = (line.split(b":", 1) for line in lines)
        return int(first.split()[1]), [(n.lower(), v.strip()) for n, v in pairs]

    async def _body(self, status: int, headers: Headers, method: str) -> tuple[bytes, bool]:
        if method == "HEAD" or status in _NO_BODY:
            return b"", True
        values = dict(headers)
        if values.get(b"transfer-encoding") == b"chunked":
            return await self._chunks()
        if (length := values.get(b"content-length")) is not None:
            try:
                return await self._reader.readexactly(int(length)), True
            except asyncio.IncompleteReadError as error:
                return error.partial, False
            except ConnectionError:
                return b"", False
        return await self._reader.read(), True

    async def _chunks(self) -> tuple[bytes, bool]:
        parts = []
        try:
            while True:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                parts.append((await self._reader.readexactly(size + 2))[:-2])
                if not size:
                    return b"".join(parts), True
        except asyncio.IncompleteReadError as error:
            parts.append(error.partial)
            return b"".join(parts), False
        except ConnectionError:
            return b"".join(parts), False


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    """A connection to a server."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, limit=2**26, local_addr=None
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def message(
    method: str = "POST",
    target: str = "/v1/chat/completions",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> bytes:
    """A request as it stands on the wire, with a length unless the headers say another."""
    named = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1", "host: farebox.test"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body and not named & {"content-length", "transfer-encoding"}:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def ask(url: str, data: bytes, method: str = "POST") -> Answer:
    """Send a request over a connection of its own."""
    async with wired(url) as wire:
        await wire.send(data)
        return await wire.answer(method)


# An upstream that only listens


@dataclass(slots=True)
class Recorded:
    """A request as it arrived."""

    line: bytes
    headers: Headers
    body: bytes


class Recorder:
    """An upstream that keeps each request byte for byte, and gives the same answer to all."""

    def __init__(self, answer: bytes) -> None:
        self.requests: list[Recorded] = []
        self.url = ""
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await self._request(reader))
                writer.write(self._answer)
                await writer.drain()
        writer.close()

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> Recorded:
        line, *rest = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = (header.split(b":", 1) for header in rest)
        headers = [(name.lower(), value.strip()) for name, value in pairs]
        values = dict(headers)
        body = b""
        if values.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        elif b"content-length" in values:
            body = await reader.readexactly(int(values[b"content-length"]))
        return Recorded(line, headers, body)


@asynccontextmanager
async def recorder(answer: bytes) -> AsyncIterator[Recorder]:
    """A recorder on a free port."""
    recording = Recorder(answer)
    server = await asyncio.start_server(recording.serve, "127.0.0.1", 0, limit=2**26)
    host, port = server.sockets[0].getsockname()
    recording.url = f"http://{host}:{port}"
    try:
        yield recording
    finally:
        server.close()
