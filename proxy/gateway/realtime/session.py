"""A session: frames both ways, unchanged, each side as slow as the other takes them."""

import asyncio
import secrets
from typing import Final, NamedTuple

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from proxy.core.call import Outcome
from proxy.gateway.dialects import realtime
from proxy.gateway.inbound import Message, Receive, Send
from proxy.gateway.meter import LEFT, STOPPED
from proxy.gateway.realtime.books import Books

_log = structlog.get_logger("farebox.gateway")
_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_POLICY: Final = 1008
_INTERNAL: Final = 1011
_NO_STATUS: Final = 1005
_FIRST_OF_SERVER: Final = 500
_APPLICATIONS: Final = range(3000, 5000)
_LEARN_WITHIN_S: Final = 10.0  # what a response used, once nobody listens to it any more
_TRUNCATED: Final = "truncated"


class Closed(NamedTuple):
    """How a side closed."""

    code: int
    reason: str = ""


class Session:
    """One session, from its opening to its settlement."""

    def __init__(
        self, books: Books, upstream: ClientConnection, receive: Receive, send: Send
    ) -> None:
        self._books = books
        self._upstream = upstream
        self._receive = receive
        self._send = send
        self._client_gone = False
        self._outcome = Outcome.LOST, STOPPED  # of what is under way when it ends

    async def run(self, accepted: Message, stopping: asyncio.Event) -> None:
        """Relay until a side closes, a budget refuses or Farebox stops; then settle."""
        # The client may have left while the upstream's side was opened: then there is nobody to tell.
        await self._give(accepted)
        up = asyncio.create_task(self._up())
        down = asyncio.create_task(self._down())
        ending = asyncio.create_task(self._end(stopping))
        tasks = (up, down, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                self._outcome = Outcome.UPSTREAM_FAILED, _TRUNCATED
                await self._close_client(down.result())
            elif up.done():
                self._outcome = Outcome.CLIENT_LEFT, LEFT
                closed = up.result()
                await self._learn(down)
                await self._upstream.close(closed.code, closed.reason)
            else:
                closed = ending.result()
                await self._close_client(closed)
                await self._upstream.close()
        finally:
            for task in tasks:
                task.cancel()
            self._books.close(*self._outcome)
            self._upstream.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    # The two ways

    async def _up(self) -> Closed:
        """What the client sends; how it closed."""
        while (message := await self._receive())["type"] == "websocket.receive":
            text = message.get("text")
            frame = text if text is not None else message["bytes"]
            if await self._books.admit(realtime.read_client(frame), len(frame)):
                try:
                    await self._upstream.send(frame)
                except ConnectionClosed:
                    continue  # which the other way tells, with how
        self._client_gone = True
        return _closed(message)

    async def _down(self) -> Closed:
        """What the upstream sends; how it closed."""
        try:
            while True:
                frame = await self._upstream.recv()
                # First: nothing of a response is passed on before its money is there.
                await self._books.hear(realtime.read_server(frame))
                kind = "text" if isinstance(frame, str) else "bytes"
                await self._give({"type": "websocket.send", kind: frame})
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return Closed(_INTERNAL, "The upstream's connection broke.")
            return Closed(_sayable(closed.rcvd.code), closed.rcvd.reason)

    async def _give(self, message: Message) -> None:
        if self._client_gone:
            return
        try:
            await self._send(message)
        except OSError:  # the server's word for a client that is gone
            self._client_gone = True

    # Its end

    async def _end(self, stopping: asyncio.Event) -> Closed:
        """Wait until a budget refuses, or Farebox stops; then for the response under way."""
        books = self._books
        waits = [asyncio.create_task(books.refused.wait()), asyncio.create_task(stopping.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        refusal = books.refusal
        if refusal is None:
            await books.quiet.wait()
            return Closed(_GOING_AWAY, "Farebox is stopping.")
        _log.info("session_refused", code=refusal.code)
        event_id = f"event_{secrets.token_hex(12)}"
        text = realtime.error_event(refusal, event_id)
        await self._give({"type": "websocket.send", "text": text})
        await self._cancel(*books.unheld())
        await books.quiet.wait()
        code = _INTERNAL if refusal.status >= _FIRST_OF_SERVER else _POLICY
        return Closed(code, refusal.code)

    async def _learn(self, down: "asyncio.Task[Closed]") -> None:
        """End what is under way, and learn what it used: the upstream says so with its end."""
        if self._books.quiet.is_set():
            return
        await self._cancel(*self._books.under_way())
        quiet = asyncio.create_task(self._books.quiet.wait())
        await asyncio.wait(
            (quiet, down), timeout=_LEARN_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
        )
        quiet.cancel()

    async def _cancel(self, *responses: str) -> None:
        try:
            for id_ in responses:
                await self._upstream.send(realtime.cancel_event(id_))
        except ConnectionClosed:
            return

    async def _close_client(self, closed: Closed) -> None:
        code, reason = closed
        await self._give({"type": "websocket.close", "code": code, "reason": reason})


def _closed(message: Message) -> Closed:
    return Closed(_sayable(message.get("code", _NO_STATUS)), message.get("reason") or "")


def _sayable(code: int) -> int:
    """A close code that may be passed on: some only say that none came."""
    if code in {_NORMAL, _GOING_AWAY, 1002, 1003} or 1007 <= code <= 1014:  # noqa: PLR2004
        return code
    if code in _APPLICATIONS:
        return code
    return _NORMAL if code == _NO_STATUS else _INTERNAL
