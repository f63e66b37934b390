"""What a client has made at a provider is asked for where it was made, also by another process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.batch_provider import BatchProvider, chat_request, lines_of
from tests.e2e.heard import Heard
from tests.e2e.running import KEY, Running, bearer, config, farebox

BODY = {"model": "gpt-4o", "input": "Hi"}


@asynccontextmanager
async def two(
    folder: Path, migrated: Path, first: Any, other: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Farebox in front of two providers; models of the first go there, all the rest to the other."""
    async with serve_simulator(first) as one, serve_simulator(other) as another:
        document = config(
            one,
            folder,
            models=[{"match": "gpt-*", "upstream": "sim"}, {"match": "*", "upstream": "other"}],
            upstreams={
                "sim": {"preset": "openai", "base_url": f"{one}/v1", "api_key": "sk-one"},
                "other": {"preset": "openai", "base_url": f"{another}/v1", "api_key": "sk-two"},
            },
        )
        async with (
            farebox(folder, document, migrated) as (url, app),
            httpx.AsyncClient(base_url=url, headers=bearer(KEY)) as client,
        ):
            yield client
            run = Running(url, one, app, Heard(create_app()), client)
            assert await run.verify() == []


async def test_a_stored_response_is_where_it_was_made(tmp_path: Path, migrated: Path) -> None:
    """All that is asked of it goes there; what nobody knows goes where everything does."""
    first, other = BatchProvider("a"), BatchProvider("b")
    async with two(tmp_path, migrated, first, other) as client:
        made = (await client.post("/v1/responses", json=BODY)).json()["id"]
        path = f"/v1/responses/{made}"
        answers = [
            await client.get(path),
            await client.get(f"{path}/input_items"),
            await client.delete(path),
            await client.get("/v1/responses/resp_999"),
        ]
    async with two(tmp_path, migrated, first, other) as client:
        await client.get(path)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert first.heard == ["/v1/responses", path, f"{path}/input_items", path, path]
    assert other.heard == ["/v1/responses/resp_999"]


async def test_a_batch_goes_where_its_file_is(tmp_path: Path, migrated: Path) -> None:
    """And its state and results come from there."""
    first, other = BatchProvider("a"), BatchProvider("b")
    first.files["file-a1"] = b""
    form = {"file": ("in.jsonl", lines_of([chat_request(1)]))}
    async with two(tmp_path, migrated, first, other) as client:
        sent = await client.post("/v1/files", files=form, data={"purpose": "batch"})
        body = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions"}
        batch = (await client.post("/v1/batches", json=body)).json()
        state = await client.get(f"/v1/batches/{batch['id']}")

    assert state.json() == batch
    assert first.heard == []
    assert other.heard == ["/v1/files", "/v1/batches", f"/v1/batches/{batch['id']}"]


async def test_what_was_begun_is_asked_for_where_it_was(tmp_path: Path, migrated: Path) -> None:
    """Though it is not metered; and what goes on from it goes there, whatever its model says."""
    first, other = BatchProvider("a"), BatchProvider("b")
    mine = bearer(KEY + "-other")  # whose team has no budget that blocks
    async with two(tmp_path, migrated, first, other) as client:
        video = await client.post("/v1/videos", json={"model": "gpt-video"}, headers=mine)
        path = f"/v1/videos/{video.json()['id']}"
        await client.get(path, headers=mine)
        await client.post(f"{path}/remix", json={"model": "another"}, headers=mine)

    assert first.heard == ["/v1/videos", path, f"{path}/remix"]
    assert other.heard == []
