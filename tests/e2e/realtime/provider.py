"""A small provider of realtime sessions: deterministic, scripted by what the client writes."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

Event = dict[str, Any]
USAGE: Event = {
    "total_tokens": 1_250,
    "input_tokens": 1_000,
    "output_tokens": 250,
    "input_token_details": {
        "text_tokens": 300,
        "audio_tokens": 700,
        "image_tokens": 0,
        "cached_tokens": 500,
        "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 300},
    },
    "output_token_details": {"text_tokens": 50, "audio_tokens": 200},
}


@dataclass
class Provider:
    """Answers ``response.create`` and committed audio; what it heard is kept."""

    model: str = "gpt-realtime"
    transcribes: str = ""
    pieces: int = 3  # of each answer
    holds_back: bool = False  # an answer has no end before ``go``, or ``response.cancel``
    refuses: HTTPStatus | None = None
    opens: asyncio.Event | None = None  # no session before it is set
    heard: list[str | bytes] = field(default_factory=list)
    said: list[str | bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    closed: list[tuple[int, str]] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)  # an answer is under way
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def heard_kinds(self) -> list[str]:
        """The types of the events that came."""
        return [json.loads(frame)["type"] for frame in self.heard if isinstance(frame, str)]

    async def talk(self, socket: ServerConnection) -> None:
        """One session."""
        self.sockets.append(socket)
        session = _Talk(self, socket)
        await session.say(type="session.created", session=self._session())
        try:
            async for frame in socket:
                self.heard.append(frame)
                await session.hear(frame)
        except ConnectionClosed:
            pass
        finally:
            session.end()
            self.closed.append((socket.close_code or 0, socket.close_reason or ""))

    def _session(self) -> Event:
        heard = {"transcription": {"model": self.transcribes}} if self.transcribes else {}
        return {"type": "realtime", "model": self.model, "audio": {"input": heard}}


class _Talk:
    """One session's state."""

    def __init__(self, provider: Provider, socket: ServerConnection) -> None:
        self.provider = provider
        self.socket = socket
        self.answering: asyncio.Task[None] | None = None
        self.cancelled = asyncio.Event()

    async def say(self, **event: Any) -> None:
        frame = json.dumps({"event_id": f"event_{next(self.provider.ids)}", **event})
        self.provider.said.append(frame)
        await self.socket.send(frame)

    async def hear(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.provider.said.append(frame)
            await self.socket.send(frame)
            return
        event = json.loads(frame)
        match event["type"]:
            case "response.create":
                self.cancelled.clear()
                self.answering = asyncio.create_task(self.answer(event.get("response") or {}))
            case "response.cancel":
                self.cancelled.set()
            case "input_audio_buffer.commit":
                await self.transcribe()

    async def answer(self, asked: Event) -> None:
        provider = self.provider
        id_ = f"resp_{next(provider.ids)}"
        place = None if asked.get("conversation") == "none" else "conv_1"
        response: Event = {"id": id_, "conversation_id": place, "status": "in_progress"}
        await self.say(type="response.created", response=response)
        sound = base64.b64encode(bytes(4_800)).decode()
        for _ in range(provider.pieces):
            await self.say(
                type="response.output_audio_transcript.delta", response_id=id_, delta="word "
            )
            await self.say(type="response.output_audio.delta", response_id=id_, delta=sound)
        provider.began.set()
        status = "completed"
        if provider.holds_back:
            waits = [asyncio.create_task(e.wait()) for e in (provider.go, self.cancelled)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            status = "cancelled" if self.cancelled.is_set() else status
        await self.say(type="response.done", response=response | {"status": status, "usage": USAGE})

    async def transcribe(self) -> None:
        item = f"item_{next(self.provider.ids)}"
        await self.say(type="input_audio_buffer.committed", item_id=item)
        if self.provider.transcribes == "whisper-1":
            usage: Event = {"type": "duration", "seconds": 12.5}
        else:
            details = {"text_tokens": 10, "audio_tokens": 90}
            usage = {"type": "tokens", "total_tokens": 120, "input_tokens": 100,
                     "output_tokens": 20, "input_token_details": details}  # fmt: skip
        if self.provider.transcribes:
            await self.say(
                type="conversation.item.input_audio_transcription.completed",
                item_id=item, content_index=0, transcript="Hello", usage=usage,
            )  # fmt: skip

    def end(self) -> None:
        if self.answering is not None:
            self.answering.cancel()


@asynccontextmanager
async def providing(provider: Provider) -> AsyncIterator[str]:
    """Serve it on a free port; gives its address."""

    async def judge(_: ServerConnection, request: Request) -> Response | None:
        provider.requests.append(request)
        if provider.opens is not None:
            await provider.opens.wait()
        if provider.refuses is None:
            return None
        return _socket_refusal(provider.refuses)

    protocols = [Subprotocol("realtime")]

    def choose(_: ServerConnection, offered: Any) -> Subprotocol | None:
        return next((p for p in protocols if p in offered), None)

    async with serve(
        provider.talk, "127.0.0.1", 0,
        process_request=judge, select_subprotocol=choose, max_size=None, compression=None,
    ) as server:  # fmt: skip
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def _socket_refusal(status: HTTPStatus) -> Response:
    from websockets.datastructures import Headers  # noqa: PLC0415 - only here

    body = b'{"error":{"message":"no such model","code":"model_not_found"}}'
    headers = Headers({"content-type": "application/json", "content-length": str(len(body)),
                       "x-request-id": "req_1", "connection": "close"})  # fmt: skip
    return Response(status.value, status.phrase, headers, body)
