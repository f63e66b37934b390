"""A provider of several APIs, as small as it can be: each path has its answer, and says what it heard."""

import asyncio
from typing import Any, NamedTuple

import orjson

from tests.gateway.dialects.chunks import compact


class Heard(NamedTuple):
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Answer(NamedTuple):
    """What is answered: in pieces, so that a stream comes in more than one."""

    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    status: int = 200


class Upstream:
    """An ASGI application. ``stuck``: a stream stays open after its first piece, until it is set."""

    def __init__(self, answers: dict[tuple[str, bool], Answer]) -> None:
        self._answers = answers
        self.heard: list[Heard] = []
        self.stuck: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        document = orjson.loads(body) if body else {}
        self.heard.append(Heard(scope["path"], headers, document))
        streamed = document.get("stream", scope["path"] in {"/api/chat", "/api/generate"})
        answer = self._answers.get((scope["path"], bool(streamed)), NOTHING)
        head = [(b"content-type", answer.content_type.encode()), (b"request-id", b"req-1")]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        for i, piece in enumerate(answer.pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if streamed and i == 0 and self.stuck is not None:
                await self.stuck.wait()
        await send({"type": "http.response.body", "body": b""})

    def close(self) -> None:
        """Nothing is held."""


NOTHING = Answer((b'{"error":{"type":"not_found_error","message":"nothing here"}}',), status=404)


def document(**said: Any) -> Answer:
    return Answer((compact(said),))


def events(*said: dict[str, Any], named: bool = True) -> Answer:
    """Server-sent events, each with its type as its name."""
    pieces = [
        (b"event: %b\n" % str(s["type"]).encode() if named else b"") + b"data: %b\n\n" % compact(s)
        for s in said
    ]
    return Answer(tuple(pieces), "text/event-stream")


def lines(*said: dict[str, Any], content_type: str = "application/x-ndjson") -> Answer:
    return Answer(tuple(compact(s) + b"\n" for s in said), content_type)
