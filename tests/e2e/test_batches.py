"""Batches: submitted by policy, and each answer metered once, at the batch price, from its results."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.e2e.batch_provider import begin as begin_batches
from tests.e2e.running import KEY, Row, Running, bearer, nano

CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
}  # fmt: skip
VECTOR = {
    "object": "list", "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
    "usage": {"prompt_tokens": 500, "total_tokens": 500},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn",
    "usage": {"input_tokens": 1_000, "output_tokens": 100, "service_tier": "batch"},
}  # fmt: skip


def line(number: int, body: Any, status: int = 200) -> str:
    """A line of OpenAI's file of results."""
    return json.dumps({
        "id": f"batch_req_{number}", "custom_id": f"request-{number}", "error": None,
        "response": {"status_code": status, "request_id": "req_1", "body": body},
    })  # fmt: skip


RESULTS = "\n".join((line(1, CHAT), line(2, CHAT), line(3, VECTOR), line(4, {"error": {}}, 400)))
MESSAGES = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}})
# Half of $2.50 and $10 for a million tokens.
CHAT_NANO = 1_000 * 1_250 + 100 * 5_000

Begin = Callable[..., AbstractAsyncContextManager[Running]]


class _Provider(Starlette):
    def close(self) -> None:
        """Nothing is held."""


def _provider(heard: list[Request]) -> _Provider:
    async def content(request: Request) -> Response:
        heard.append(request)
        return Response(RESULTS, media_type="application/octet-stream")

    async def results(request: Request) -> Response:
        heard.append(request)
        return Response(MESSAGES + "\n", media_type="application/x-jsonl")

    async def submitted(request: Request) -> Response:
        heard.append(request)
        return JSONResponse({"id": "batch_1", "object": "batch", "status": "validating"})

    return _Provider(
        routes=[
            Route("/v1/files/{file}/content", content),
            Route("/v1/messages/batches/{batch}/results", results),
            Route("/v1/batches", submitted, methods=["POST"]),
        ]
    )


@pytest.fixture
def begin(tmp_path: Path, migrated: Path) -> Begin:
    """Starts Farebox in front of a provider of batches."""

    def beginning(
        heard: list[Request] | None = None, **changes: Any
    ) -> AbstractAsyncContextManager[Running]:
        provider = _provider([] if heard is None else heard)
        return begin_batches(tmp_path, migrated, provider, **changes)

    return beginning


async def _rows(run: Running, *endpoints: str) -> list[Row]:
    await run.is_idle()
    await run.app.house.pipeline.settled()
    await run.app.house.pipeline.settled()  # the rows that the first ones began
    return [row for row in await run.calls() if row["endpoint"] in endpoints]


async def test_each_answer_is_metered_once_however_often_it_is_fetched(begin: Begin) -> None:
    async with begin() as run:
        for _ in range(2):
            answer = await run.client.get("/v1/files/file-1/content", headers=bearer(KEY))
            assert answer.text == RESULTS
            rows = await _rows(run, "chat.completions", "embeddings")

        chats = [row for row in rows if row["endpoint"] == "chat.completions"]
        assert [nano(row["cost_usd"]) for row in chats] == [CHAT_NANO] * 2
        (vector,) = [row for row in rows if row["endpoint"] == "embeddings"]
        assert (vector["input_tokens"], vector["usage_source"]) == (500, "provider")
        # The price data has no batch price for it: then it is the list price.
        assert nano(vector["cost_usd"]) == 500 * 20
        assert await run.settled_cleanly() == 2 * CHAT_NANO + 10_000


async def test_an_answer_of_anthropics(begin: Begin) -> None:
    """From a server that speaks that API."""
    async with begin(sim={"preset": "vllm"}) as run:
        headers = bearer(KEY) | {"anthropic-version": "2023-06-01"}
        answer = await run.client.get("/v1/messages/batches/b_1/results", headers=headers)

        (row,) = await _rows(run, "messages")
        assert answer.text == MESSAGES + "\n"
        assert row["upstream_call_id"] == "msg_1"
        assert (row["input_tokens"], row["output_tokens"]) == (1_000, 100)
        assert await run.verify() == []


async def test_a_file_is_fetched_whole(begin: Begin) -> None:
    """A part of a line would be no answer, and cost nothing."""
    heard: list[Request] = []
    async with begin(heard) as run:
        headers = bearer(KEY) | {"range": "bytes=1-", "if-range": '"x"'}
        await run.client.get("/v1/files/file-1/content", headers=headers)

        assert "range" not in heard[0].headers
        assert len(await _rows(run, "chat.completions")) == 2


async def test_a_blocking_budget_refuses_a_batch_unless_it_is_told_to(begin: Begin) -> None:
    body = {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    heard: list[Request] = []
    async with begin(heard) as run:
        refused = await run.client.post("/v1/batches", json=body, headers=bearer(KEY))
        taken = await run.client.post("/v1/batches", json=body, headers=bearer(KEY + "-other"))

        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "call_not_bounded")
        assert (taken.status_code, taken.json()["id"]) == (200, "batch_1")
        assert len(heard) == 1


async def test_a_budget_may_let_batches_through(begin: Begin) -> None:
    budget = {"limit_usd": 100, "window": "month", "unbounded": "allow"}
    teams = [{"name": "search", "budgets": [budget]}, {"name": "other"}]
    async with begin(teams=teams) as run:
        taken = await run.client.post(
            "/v1/batches", json={"input_file_id": "file-1"}, headers=bearer(KEY)
        )

        assert taken.status_code == 200
        (row,) = await _rows(run, "batches")
        assert (row["cost_usd"], row["outcome"]) == ("0.00", "completed")
        assert await run.settled_cleanly() == 0


async def test_the_sdk_gets_what_it_gets_directly(begin: Begin) -> None:
    async with begin() as run, run.sdk(KEY + "-other") as here, run.direct_sdk() as there:
        seen = []
        for sdk in (here, there):
            batch = await sdk.batches.create(
                input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
            )
            seen.append((batch, (await sdk.files.content("file-2")).text))

        assert seen[0] == seen[1]
        assert len(await _rows(run, "chat.completions")) == 2
