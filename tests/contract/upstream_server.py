"""An upstream that behaves exactly as badly as it is told, on raw sockets.

A script is one coroutine per connection: it reads and writes bytes, and there is nothing between it
and the kernel that could mend what it does.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from proxy.gateway.upstreams.base import (
    Headers,
    UpstreamClient,
    UpstreamRequest,
    UpstreamResponse,
)

Connect = Callable[..., UpstreamClient]  # base_url, and build_client's options
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Received:
    """A request as it stood on the wire."""

    line: bytes
    headers: Headers
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a header, as often as it stood there."""
        return [value for key, value in self.headers if key.lower() == name]


class Peer:
    """The server's end of one connection; ``number`` counts them from 0."""

    def __init__(self, connection: socket.socket, number: int, server: "Server") -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.number = number
        self.sent = 0
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._read = b""

    async def receive(self) -> bytes:
        """What the client sends next; b"" where it has closed."""
        if self._read:
            data, self._read = self._read, b""
            return data
        return await self._loop.sock_recv(self.socket, 65_536)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""
        seen = b""
        while mark not in seen:
            data = await self.receive()
            if not data:
                raise ConnectionError("the client left")
            seen += data
        end = seen.index(mark) + len(mark)
        self._read = seen[end:] + self._read
        return seen[:end]

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        seen = b""
        while len(seen) < size:
            data = await self.receive()
            if not data:
                raise ConnectionError("the client left")
            seen += data
        self._read = seen[size:] + self._read
        return seen[:size]

    async def head(self) -> Received:
        """A request's head; its body stays unread."""
        line, *rest = (await self.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        headers = [
            (name, value.strip()) for name, _, value in (one.partition(b":") for one in rest)
        ]
        received = Received(line, headers, b"")
        self._server.requests.append(received)
        return received

    async def request(self) -> Received:
        """A request with its body."""
        received = await self.head()
        lengths = received.values(b"content-length")
        if lengths:
            received.body = await self.exactly(int(lengths[0]))
        elif received.values(b"transfer-encoding"):
            while size := int((await self.until(b"\r\n"))[:-2], 16):
                received.body += (await self.exactly(size + 2))[:-2]
            await self.exactly(2)
        return received

    async def send(self, data: bytes) -> None:
        """Send, as fast as the client takes it."""
        await self._loop.sock_sendall(self.socket, data)
        self.sent += len(data)

    async def send_in_pieces(self, data: bytes, size: int) -> None:
        """Send so that the client can see each piece alone."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            for _ in range(3):
                await asyncio.sleep(0)

    async def hold(self) -> bytes:
        """Do nothing until the client closes; what it sent meanwhile."""
        seen = b""
        with contextlib.suppress(ConnectionError):
            while data := await self.receive():
                seen += data
        return seen

    def reset(self) -> None:
        """Close with RST rather than FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    """What the scripts share, and what a test asks afterwards."""

    port: int
    requests: list[Received] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL of the server's root."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(script: Script, *, receive_buffer: int = 0) -> AsyncIterator[Server]:
    """Run the script for each connection. What goes wrong in a script fails the test."""
    listener = socket.socket()
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.setblocking(False)
    server = Server(listener.getsockname()[1])
    tasks: list[asyncio.Task[None]] = []
    accepting = asyncio.ensure_future(_accept(listener, server, script, tasks))
    try:
        yield server
    finally:
        for task in (accepting, *tasks):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(accepting, return_exceptions=True)
        for peer in server.peers:
            peer.socket.close()
        listener.close()
    wrong = [one for one in results if isinstance(one, Exception)]
    if wrong:
        raise wrong[0]


async def _accept(
    listener: socket.socket, server: Server, script: Script, tasks: list[asyncio.Task[None]]
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        peer = Peer(connection, len(server.peers), server)
        server.peers.append(peer)
        tasks.append(asyncio.ensure_future(_run(script, peer)))


async def _run(script: Script, peer: Peer) -> None:
    with contextlib.suppress(ConnectionError):  # a client may leave whenever it likes
        await script(peer)
    peer.socket.close()


def answering(*answers: bytes) -> Script:
    """Read a request, send an answer, and so on with the last one until the client leaves."""

    async def script(peer: Peer) -> None:
        number = 0
        while True:
            await peer.request()
            await peer.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script


async def dying_on_reuse(peer: Peer) -> None:
    """Answer once, and close while the second request is on its way."""
    await peer.request()
    await peer.send(OK)
    await peer.request()


def stalling(*parts: bytes) -> Script:
    """Read a request, answer with so many bytes, and say nothing more until the client leaves."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
        await peer.hold()

    return script


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that comes in parts."""
    for part in parts:
        yield part


def post(
    body: bytes | AsyncIterator[bytes] = b"{}", headers: Headers | None = None
) -> UpstreamRequest:
    return UpstreamRequest(b"POST", b"/v1/chat", headers or [], body)


def get(target: bytes = b"/", method: bytes = b"GET") -> UpstreamRequest:
    return UpstreamRequest(method, target, [])


async def body_of(response: UpstreamResponse) -> bytes:
    """The whole body."""
    parts = []
    while data := await response.read():
        parts.append(data)
    await response.aclose()
    return b"".join(parts)


async def exchange(client: UpstreamClient, request: UpstreamRequest) -> tuple[int, Headers, bytes]:
    """One call from end to end."""
    response = await client.send(request)
    return response.status, response.headers, await body_of(response)


async def settled(probe: Callable[[], int]) -> int:
    """The value once nothing in this process changes it any more: no time is waited for."""
    value, unchanged = probe(), 0
    while unchanged < 100:
        await asyncio.sleep(0)
        unchanged = unchanged + 1 if probe() == value else 0
        value = probe()
    return value


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0)
