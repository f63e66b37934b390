"""A provider of batches, of OpenAI's kind and Anthropic's: they are over when a test says so."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.heard import Heard
from tests.e2e.running import Running, config, farebox

Json = dict[str, Any]
TOKENS_IN, TOKENS_OUT = 1_000, 100
# Half of $2.50 and $10 for a million tokens.
CHAT_NANO = TOKENS_IN * 1_250 + TOKENS_OUT * 5_000
# Half of $3 and $15.
MESSAGE_NANO = TOKENS_IN * 1_500 + TOKENS_OUT * 7_500


def chat_request(number: int, **body: Any) -> Json:
    """A line of the file that a batch is made of."""
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500}
    return {
        "custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions",
        "body": chat | body,
    }  # fmt: skip


def lines_of(requests: list[Json]) -> bytes:
    """The file."""
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


class BatchProvider(Starlette):
    """Keeps files and batches in memory."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix  # of the ids that it gives
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.heard: list[str] = []
        self.keys: set[str] = set()
        self.failing = 0  # how many of the next questions it answers with 503
        self._numbers = count(1)
        super().__init__(
            routes=[
                Route("/v1/files", self._upload, methods=["POST"]),
                Route("/v1/files/{file}/content", self._content),
                Route("/v1/batches", self._submit, methods=["POST"]),
                Route("/v1/batches", self._list),
                Route("/v1/batches/{batch}", self._state),
                Route("/v1/batches/{batch}/cancel", self._state, methods=["POST"]),
                Route("/v1/messages/batches", self._submit_messages, methods=["POST"]),
                Route("/v1/messages/batches/{batch}", self._state),
                Route("/v1/messages/batches/{batch}/results", self._results),
                Route("/v1/responses", self._respond, methods=["POST"]),
                Route("/v1/responses/{id}", self._stored, methods=["GET", "DELETE"]),
                Route("/v1/responses/{id}/input_items", self._stored),
                Route("/v1/videos", self._respond, methods=["POST"]),
                Route("/v1/videos/{id}", self._stored),
                Route("/v1/videos/{id}/remix", self._respond, methods=["POST"]),
            ]
        )

    def close(self) -> None:
        """Nothing is held."""

    def asked(self, path: str) -> int:
        """How often."""
        return self.heard.count(path)

    def finish(self, batch_id: str, answers: int | None = None) -> None:
        """The batch is over, with so many answers."""
        batch = self.batches[batch_id]
        if batch.get("type") == "message_batch":
            batch["processing_status"] = "ended"
            return
        asked = self.files[batch["input_file_id"]].splitlines()
        name = self._id("file-out")
        lines = self._answers(batch_id, len(asked) if answers is None else answers)
        self.files[name] = lines_of(list(lines))
        batch |= {"status": "completed", "output_file_id": name}

    def _answers(self, batch_id: str, number: int) -> Iterator[Json]:
        for n in range(number):
            chat = {
                "id": f"chatcmpl-{batch_id}-{n}", "object": "chat.completion",
                "created": 1_700_000_000, "model": "gpt-4o", "choices": [],
                "usage": {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT,
                          "total_tokens": TOKENS_IN + TOKENS_OUT},
            }  # fmt: skip
            response = {"status_code": 200, "request_id": "req_1", "body": chat}
            yield {"id": f"batch_req_{batch_id}_{n}", "error": None, "response": response}

    def _id(self, kind: str) -> str:
        return f"{kind}-{self.prefix}{next(self._numbers)}"

    def _hear(self, request: Request) -> None:
        self.heard.append(request.url.path)
        for name in ("authorization", "x-api-key"):
            if name in request.headers:
                self.keys.add(request.headers[name])

    async def _upload(self, request: Request) -> Response:
        self._hear(request)
        async with request.form() as form:
            file = form["file"]
            assert not isinstance(file, str)
            name, data = self._id("file"), await file.read()
            self.files[name] = data
            purpose = form["purpose"]
        return JSONResponse(
            {"object": "file", "id": name, "bytes": len(data), "created_at": 1_700_000_000,
             "filename": "in.jsonl", "purpose": purpose, "status": "processed"}
        )  # fmt: skip

    async def _content(self, request: Request) -> Response:
        self._hear(request)
        data = self.files[request.path_params["file"]]
        return Response(data, media_type="application/octet-stream")

    async def _submit(self, request: Request) -> Response:
        self._hear(request)
        document = await request.json()
        name = self._id("batch")
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": document["endpoint"], "status": "validating",
            "input_file_id": document["input_file_id"], "output_file_id": None,
            "completion_window": "24h", "created_at": 1_700_000_000,
        }  # fmt: skip
        return JSONResponse(self.batches[name])

    async def _submit_messages(self, request: Request) -> Response:
        self._hear(request)
        document = await request.json()
        name = self._id("msgbatch")
        self.batches[name] = {
            "id": name, "type": "message_batch", "processing_status": "in_progress",
            "expires_at": "2026-11-26T00:00:00Z",
        }  # fmt: skip
        self.files[name] = b"".join(
            lines_of([{"custom_id": asked["custom_id"], "result": _message(name, n, asked)}])
            for n, asked in enumerate(document["requests"])
        )
        return JSONResponse(self.batches[name])

    async def _state(self, request: Request) -> Response:
        self._hear(request)
        if self.failing:
            self.failing -= 1
            return JSONResponse({"error": {"message": "later"}}, 503)
        found = self.batches.get(request.path_params["batch"])
        return JSONResponse(found or {"error": {}}, 200 if found else 404)

    async def _list(self, request: Request) -> Response:
        self._hear(request)
        return JSONResponse({"object": "list", "data": list(self.batches.values())})

    async def _results(self, request: Request) -> Response:
        self._hear(request)
        await asyncio.sleep(0)
        return Response(self.files[request.path_params["batch"]], media_type="application/x-jsonl")

    async def _respond(self, request: Request) -> Response:
        self._hear(request)
        usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        name = self._id("resp")
        return JSONResponse(
            {"id": name, "object": "response", "status": "completed", "model": "gpt-4o",
             "output": [], "usage": usage}
        )  # fmt: skip

    async def _stored(self, request: Request) -> Response:
        self._hear(request)
        return JSONResponse({"id": request.path_params["id"], "object": "response"})


def _message(batch: str, number: int, asked: Json) -> Json:
    message = {
        "id": f"msg_{batch}_{number}", "type": "message", "role": "assistant",
        "model": asked["params"]["model"], "content": [], "stop_reason": "end_turn",
        "usage": {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT, "service_tier": "batch"},
    }  # fmt: skip
    return {"type": "succeeded", "message": message}


@asynccontextmanager
async def in_front_of(
    there: str, folder: Path, document: dict[str, Any], migrated: Path | None = None
) -> AsyncIterator[Running]:
    """Farebox in front of the provider at ``there``."""
    async with (
        farebox(folder, document, migrated) as (url, app),
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield Running(url, there, app, Heard(create_app()), client)


@asynccontextmanager
async def begin(
    folder: Path, migrated: Path, provider: Any, **changes: Any
) -> AsyncIterator[Running]:
    """Farebox in front of a provider of batches."""
    async with (
        serve_simulator(provider) as there,
        in_front_of(there, folder, config(there, folder, **changes), migrated) as run,
    ):
        yield run
