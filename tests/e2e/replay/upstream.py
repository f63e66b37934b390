"""A provider that answers as one was recorded to have answered, in pieces of a chosen size."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

from tests.e2e.replay.place import Exchange

CUT = "cut:"  # a split: so many bytes, and the connection breaks
REPLAY = "x-replay"  # the request's header: the exchange's id and the split, with a blank between

# The length, and how the bytes were sent, are this server's own; connection handling, too.
_OWN_HEADERS = frozenset(
    ("content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive")
)
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_LINE_END = re.compile(rb"(?<=\n)")


def _by(size: int) -> Callable[[bytes], Iterator[bytes]]:
    def split(body: bytes) -> Iterator[bytes]:
        return (body[at : at + size] for at in range(0, len(body), size))

    return split


SPLITS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "whole": lambda body: [body],
    "event": _EVENT_END.split,
    "line": _LINE_END.split,
    "7": _by(7),
    "1": _by(1),
}


def _pieces(exchange: Exchange, split: str) -> Iterable[bytes]:
    body = answer_body(exchange)
    if split.startswith(CUT):
        return [body[: int(split.removeprefix(CUT))]]
    return SPLITS[split](body)


def answer_body(exchange: Exchange) -> bytes:
    """The recorded answer's bytes."""
    if exchange.get("response_b64") is not None:
        return base64.b64decode(exchange["response_b64"])
    text = exchange.get("response_text")
    return b"" if text is None else text.encode()


def answer_headers(exchange: Exchange) -> list[tuple[str, str]]:
    """The recorded headers that a replay has, too."""
    found: list[tuple[str, str]] = []
    for name, value in (exchange["response_headers"] or {}).items():
        values = value if isinstance(value, list) else [value]
        found += [(name.lower(), str(v)) for v in values if name.lower() not in _OWN_HEADERS]
    if exchange["content_type"] and "content-type" not in dict(found):
        found.append(("content-type", exchange["content_type"]))
    return [(n, v) for n, v in found if v.isascii() and v.isprintable()]


class ReplayUpstream:
    """Answers each request with the exchange that it names, and keeps what was asked."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._exchanges = {e["id"]: e for e in exchanges}
        self.asked: dict[str, tuple[str, bytes]] = {}  # by exchange: target and body
        self.connections: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request by request."""
        self.connections.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        start, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = await _body(reader, headers)
        id_, split = headers[REPLAY].split(" ")
        exchange = self._exchanges[id_]
        self.asked[id_] = (start.split(" ")[1], body)
        no_body = exchange["status"] in (204, 304)
        shown = answer_headers(exchange)
        if not no_body:
            shown.append(("transfer-encoding", "chunked"))
        told = "".join(f"{name}: {value}\r\n" for name, value in shown)
        writer.write(f"HTTP/1.1 {exchange['status']} Replayed\r\n{told}\r\n".encode("latin-1"))
        if not no_body:
            for piece in _pieces(exchange, split):
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
            if split.startswith(CUT):
                await writer.drain()
                raise ConnectionError("as the recording says no more")
            writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


@asynccontextmanager
async def replaying(exchanges: Iterable[Exchange]) -> AsyncIterator[tuple[str, ReplayUpstream]]:
    """The upstream on a free port: its address, and itself."""
    upstream = ReplayUpstream(exchanges)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=2**20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", upstream
    finally:
        server.close()
        for writer in upstream.connections:
            writer.close()
        await server.wait_closed()
