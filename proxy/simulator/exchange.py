"""One request on its socket: reads it, writes the answer as the controls ask, notices a client that left."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from email.utils import formatdate
from typing import Any, Final

from proxy.simulator.controls import DEFAULT, Controls, Death

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

TRANSPORT: Final = "farebox.simulator.transport"  # the ASGI extension that `serve` offers

_AFTER_LEAD_BYTE: Final = re.compile(rb"[^\xc0-\xf7]*[\xc0-\xf7]|[^\xc0-\xf7]+")
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all


class ClientLeft(Exception):
    """The client closed its connection before the answer was complete."""


class Exchange:
    """A request and its answer. Everything that waits or writes raises ClientLeft."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope.get("raw_path") or self.path.encode()
        self.query: bytes = scope["query_string"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.request_id = ""
        self.controls = DEFAULT
        self.started = False
        self._receive = receive
        self._send = send
        extension = (scope.get("extensions") or {}).get(TRANSPORT)
        self._transport: asyncio.Transport | None = extension and extension["transport"]

    def header(self, name: bytes) -> bytes:
        """The first header of this name, or nothing."""
        return next((value for key, value in self.headers if key == name), b"")

    # Reading the request...

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    # Writing the answer...

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer of known length; in the pieces that the controls ask for."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        if self.controls.split is not None:
            await self.write(body)
            body = b""
        await self._say({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Headers) -> None:
        """Status and headers, with those that every answer has."""
        self.started = True
        always = [
            (b"date", formatdate(usegmt=True).encode()),
            (b"x-simulated", b"true"),
            (b"x-request-id", self.request_id.encode()),
        ]
        message = {"type": "http.response.start", "status": status, "headers": [*always, *headers]}
        await self._say(message)

    async def write(self, data: bytes) -> None:
        """A part of the body, in the pieces that the controls ask for."""
        if self.controls.split in (None, "event"):
            await self._say({"type": "http.response.body", "body": data, "more_body": True})
            return
        for piece in pieces(data, self.controls.split):
            await self._say({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # lets this piece go out on its own

    async def finish(self) -> None:
        """The end of the body."""
        await self._say({"type": "http.response.body", "body": b""})

    async def _say(self, message: dict[str, Any]) -> None:
        if self._transport is not None and self._transport.is_closing():
            raise ClientLeft
        await self._send(message)

    # Waiting, leaving, dying...

    async def pause(self, milliseconds: float | None) -> None:
        """Wait, for ever where no time is given; the body must have been read."""
        if milliseconds == 0:
            return
        try:
            async with asyncio.timeout(None if milliseconds is None else milliseconds / 1000):
                await self.gone()
        except TimeoutError:
            return
        raise ClientLeft

    async def gone(self) -> None:
        """Wait until the connection is closed; the server has nothing to complain about then."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def die(self, how: Death) -> None:
        """End the connection here and now, once what was written is on its way."""
        transport = self._transport
        if transport is None:
            raise RuntimeError(
                "to die needs a socket: run the simulator with proxy.simulator.serve"
            )
        await self._delivered(transport)
        if how is Death.CLOSE:
            transport.close()
        else:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        await self.gone()

    async def _delivered(self, transport: asyncio.Transport) -> None:
        """Wait until what was written has left this process: the server waits for an empty buffer."""
        await asyncio.sleep(0)
        transport.set_write_buffer_limits(high=0)
        if self.started:
            await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    def steer(self, controls: Controls) -> None:
        """From here on, write as these controls ask."""
        self.controls = controls


def pieces(data: bytes, split: int | str | None) -> Iterator[bytes]:
    """Cut bytes every ``split`` bytes, after each line, or after the first byte of each long character."""
    if isinstance(split, int):
        return (data[at : at + split] for at in range(0, len(data), split))
    if split == "line":
        return iter(data.splitlines(keepends=True))
    return iter(_AFTER_LEAD_BYTE.findall(data))
