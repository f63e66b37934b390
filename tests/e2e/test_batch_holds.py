"""A batch is held when it is submitted, and metered exactly once, whoever sees its results first."""

import asyncio
import json
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from proxy.simulator import serve as serve_simulator
from proxy.store.engine import Database
from proxy.store.objects import ObjectStore
from tests.e2e.batch_provider import (
    CHAT_NANO,
    MESSAGE_NANO,
    BatchProvider,
    begin,
    chat_request,
    in_front_of,
    lines_of,
)
from tests.e2e.commands import Service, service
from tests.e2e.running import ADMIN, KEY, Row, Running, bearer, config, eventually, farebox, nano

FAST = {"poll_s": 0.05}
ANTHROPIC = {"sim": {"preset": "vllm"}, "prices": [
    {"model": "claude-*", "input_per_mtok": 3, "output_per_mtok": 15, "multiplier": 0.5},
]}  # fmt: skip
VERSION = {"anthropic-version": "2023-06-01"}
BODY = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


async def submit(run: Running, requests: list[Any], key: str = KEY) -> Any:
    """Send a file, and submit it as a batch, with OpenAI's SDK."""
    async with run.sdk(key, max_retries=0) as sdk:
        file = await sdk.files.create(file=("in.jsonl", lines_of(requests)), purpose="batch")
        return await sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )


async def held_nano(run: Running) -> int:
    return nano((await run.budget())["held_usd"])


async def rows(run: Running, *endpoints: str) -> list[Row]:
    return [row for row in await run.calls() if row["endpoint"] in endpoints]


async def until_metered(run: Running, number: int, endpoint: str = "chat.completions") -> list[Row]:
    """Wait until so many answers have rows, and nothing is held."""

    async def done() -> bool:
        return len(await rows(run, endpoint)) >= number and not await held_nano(run)

    await eventually(done)
    return await rows(run, endpoint)


async def make_due(folder: Path, id_: str) -> None:
    """Who was killed while it asked for a batch has ten minutes, before another asks."""
    known = ObjectStore(database := Database(f"sqlite:///{folder}/farebox.db"))
    batch = await known.find(id_)
    assert batch is not None
    if batch.next_at_us is not None:  # else it is over
        await known.put_off(batch, 1)
    await database.close()


async def test_a_batch_is_metered_though_nobody_fetches_it(tmp_path: Path, migrated: Path) -> None:
    """What it can cost is held while it runs; its answers are its submitter's, and paid from that."""
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches=FAST) as run:
        requests = [chat_request(n) for n in range(3)]
        batch = await submit(run, requests)
        held = await held_nano(run)
        (submitted,) = await rows(run, "batches")
        provider.finish(batch.id)
        found = await until_metered(run, 3)

        body = sum(len(json.dumps(r["body"], separators=(",", ":"))) for r in requests)
        assert held == 1_250 * (body + 3 * 512) + 5_000 * 3 * 500
        assert [nano(row["cost_usd"]) for row in found] == [CHAT_NANO] * 3
        assert {row["started_at"] for row in found} == {submitted["started_at"]}
        assert {(row["team"], row["key"]) for row in found} == {("search", "search-key")}
        assert (submitted["cost_usd"], submitted["upstream_call_id"]) == ("0.00", batch.id)
        assert await run.settled_cleanly() == 3 * CHAT_NANO
        assert provider.keys == {"Bearer sk-simulated"}


async def test_fetched_or_asked_for_it_is_metered_once(tmp_path: Path, migrated: Path) -> None:
    """By another key's client, by polling, at the same time, and again."""
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches=FAST) as run:
        batch = await submit(run, [chat_request(n) for n in range(5)])
        provider.finish(batch.id)
        async with run.sdk(KEY + "-other") as sdk:
            state = await sdk.batches.retrieve(batch.id)
            text = (await sdk.files.content(state.output_file_id or "")).text
            for _ in range(3):
                await sdk.files.content(state.output_file_id or "")
        found = await until_metered(run, 5)

        assert text.encode() == provider.files[state.output_file_id or ""]
        assert [row["team"] for row in found] == ["search"] * 5
        assert await run.settled_cleanly() == 5 * CHAT_NANO


async def test_it_is_known_whose_its_results_are_before_a_client_knows_where(
    tmp_path: Path, migrated: Path
) -> None:
    """Else whoever fetches them at once would pay for them."""
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches={"poll": False}) as run:
        batches = [await submit(run, [chat_request(n)]) for n in range(2)]
        for batch in batches:
            provider.finish(batch.id)
        answer = await run.client.get("/v1/batches", headers=bearer(KEY + "-other"))
        # At once: nothing can come between.
        with closing(sqlite3.connect(tmp_path / "farebox.db")) as database:
            noted = database.execute(
                "SELECT id, data FROM objects WHERE kind = 'results'"
            ).fetchall()

        assert set(noted) == {(one["output_file_id"], one["id"]) for one in answer.json()["data"]}
        assert len(noted) == 2


async def test_without_polling_a_fetch_ends_it(tmp_path: Path, migrated: Path) -> None:
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches={"poll": False}) as run:
        batch = await submit(run, [chat_request(n) for n in range(2)])
        provider.finish(batch.id)
        async with run.sdk() as sdk:
            state = (await sdk.batches.list()).data[0]
            await run.app.house.pipeline.settled()
            await sdk.files.content(state.output_file_id or "")
        await until_metered(run, 2)

        assert await run.settled_cleanly() == 2 * CHAT_NANO
        assert provider.asked(f"/v1/batches/{batch.id}") == 0


async def test_messages_are_bounded_by_what_submits_them(tmp_path: Path, migrated: Path) -> None:
    """Anthropic's requests are in the body."""
    provider = BatchProvider()
    params = {"model": "claude-sonnet-4-5", "max_tokens": 200,
              "messages": [{"role": "user", "content": "Hi"}]}  # fmt: skip
    body = {"requests": [{"custom_id": str(n), "params": params} for n in range(2)]}
    async with begin(tmp_path, migrated, provider, batches=FAST, **ANTHROPIC) as run:
        headers = bearer(KEY) | VERSION
        answer = await run.client.post("/v1/messages/batches", json=body, headers=headers)
        held = await held_nano(run)
        provider.finish(answer.json()["id"])
        found = await until_metered(run, 2, "messages")

        size = len(json.dumps(params, separators=(",", ":")))
        assert held == 2 * (1_500 * (size + 512) + 7_500 * 200)
        assert [nano(row["cost_usd"]) for row in found] == [MESSAGE_NANO] * 2
        assert await run.settled_cleanly() == 2 * MESSAGE_NANO


async def test_what_does_not_fit_is_refused(tmp_path: Path, migrated: Path) -> None:
    """By a blocking budget, before the provider hears of it; so is a model that the team may not use."""
    teams = [
        {"name": "search", "budgets": [{"limit_usd": "0.01", "window": "month"}]},
        {"name": "other", "models": ["gpt-5*"]},
    ]
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, teams=teams) as run:
        small = await submit(run, [chat_request(1)])
        with pytest.raises(openai.RateLimitError, match="team:search:month"):
            await submit(run, [chat_request(n) for n in range(3)])
        with pytest.raises(openai.PermissionDeniedError, match="gpt-4o"):
            await submit(run, [chat_request(1)], KEY + "-other")

        assert list(provider.batches) == [small.id]
        assert await run.verify() == []


@pytest.mark.parametrize(
    "requests",
    [
        [chat_request(1, messages=[{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}])],
        [chat_request(1), chat_request(2, model="gpt-4o-mini")],
        [chat_request(1) | {"url": "/v1/something"}],
        [chat_request(1) | {"body": None}],
        [],
    ],
    ids=["a picture somewhere", "several models", "another endpoint", "no body", "empty"],
)  # fmt: skip
async def test_what_its_file_does_not_bound_is_decided_by_policy(
    tmp_path: Path, migrated: Path, requests: list[Any]
) -> None:
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider) as run:
        with pytest.raises(openai.BadRequestError, match="can't be bounded"):
            await submit(run, requests)
        free = await submit(run, requests, KEY + "-other")

        assert list(provider.batches) == [free.id]


async def test_a_reserve_is_held_as_long_as_the_batch_runs(tmp_path: Path, migrated: Path) -> None:
    """Of a file that was sent past Farebox nothing is known but what the budget says to reserve."""
    budget = {"limit_usd": 10, "window": "month", "unbounded": {"reserve_usd": 2}}
    teams = [{"name": "search", "budgets": [budget]}]
    provider = BatchProvider()
    provider.files["file-elsewhere"] = lines_of([chat_request(1)])
    async with begin(tmp_path, migrated, provider, batches=FAST, teams=teams) as run:
        async with run.sdk() as sdk:
            batch = await sdk.batches.create(
                input_file_id="file-elsewhere", endpoint="/v1/chat/completions",
                completion_window="24h",
            )  # fmt: skip
        held = await held_nano(run)
        provider.finish(batch.id)
        await until_metered(run, 1)

        assert held == 2_000_000_000
        assert await run.settled_cleanly() == CHAT_NANO


async def test_the_provider_may_be_away_for_a_while(tmp_path: Path, migrated: Path) -> None:
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches=FAST) as run:
        batch = await submit(run, [chat_request(1)])
        provider.failing = 3
        provider.finish(batch.id)
        await until_metered(run, 1)

        assert provider.asked(f"/v1/batches/{batch.id}") >= 4


async def test_a_batch_without_answers_gives_its_hold_back(tmp_path: Path, migrated: Path) -> None:
    """It failed: its file was refused."""
    provider = BatchProvider()
    async with begin(tmp_path, migrated, provider, batches=FAST) as run:
        batch = await submit(run, [chat_request(1)])
        provider.batches[batch.id]["status"] = "failed"
        await until_metered(run, 0)

        assert await run.settled_cleanly() == 0


async def test_another_process_goes_on(tmp_path: Path, migrated: Path) -> None:
    """The one that submitted it is gone. Two that look for it meter it once."""
    provider: Any = BatchProvider()
    slow = {"poll_s": 600}
    async with serve_simulator(provider) as there:
        first, *others = (tmp_path / name for name in ("a", "b", "c"))
        for folder in (first, *others):
            folder.mkdir()
        documents = [config(there, first, batches=how) for how in (slow, FAST, FAST)]
        async with in_front_of(there, first, documents[0], migrated) as run:
            batch = await submit(run, [chat_request(n) for n in range(20)])
            held = await held_nano(run)
            known = await run.app.house.objects.find(batch.id)
            assert known is not None
            await run.app.house.objects.put_off(known, 1)
        provider.finish(batch.id)
        async with (
            in_front_of(there, others[0], documents[1]) as run,
            farebox(others[1], documents[2]),
        ):
            await until_metered(run, 20)

            assert held > 0
            assert len(await rows(run, "chat.completions")) == 20
            assert await run.settled_cleanly() == 20 * CHAT_NANO


async def test_kill_minus_nine_loses_nothing(tmp_path: Path, migrated: Path) -> None:
    """The hold of a batch is nobody's who could die: the next process meters it, from that."""
    provider: Any = BatchProvider()
    async with serve_simulator(provider) as there, AsyncExitStack() as stack:
        document = config(there, tmp_path, batches=FAST, ledger={"lease_s": 0.2})
        document["logging"] = {"level": "info"}
        (tmp_path / "farebox.yaml").write_text(yaml.safe_dump(document))
        shutil.copy(migrated, tmp_path / "farebox.db")

        async def serve() -> Service:
            begun = service(tmp_path, "--config", "farebox.yaml")
            return await asyncio.to_thread(stack.enter_context, begun)

        async def spent() -> tuple[int, int]:
            answer = await client.get(f"{url}/admin/v1/budgets", headers=bearer(ADMIN))
            (budget,) = answer.json()["items"]
            return nano(budget["spent_usd"]), nano(budget["held_usd"])

        client = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        first = await serve()
        url = first.url
        form = {"file": ("in.jsonl", lines_of([chat_request(n) for n in range(30)]))}
        sent = await client.post(
            f"{url}/v1/files", files=form, data={"purpose": "batch"}, headers=bearer(KEY)
        )
        body = BODY | {"input_file_id": sent.json()["id"]}
        taken = await client.post(f"{url}/v1/batches", json=body, headers=bearer(KEY))
        await spent()  # which waits until the submission is in the ledger
        await asyncio.to_thread(first.stop, signal.SIGKILL)
        await make_due(tmp_path, taken.json()["id"])
        second = await serve()
        url = second.url
        _, held = await spent()
        provider.finish(taken.json()["id"])

        async def some() -> bool:
            return (await spent())[0] > 0

        await eventually(some)
        await asyncio.to_thread(second.stop, signal.SIGKILL)  # perhaps in the middle
        await make_due(tmp_path, taken.json()["id"])
        third = await serve()
        url = third.url

        async def all_of_it() -> bool:
            return await spent() == (30 * CHAT_NANO, 0)

        await eventually(all_of_it)
        assert held > 30 * 500 * 5_000


async def test_no_prompt_is_kept(tmp_path: Path, migrated: Path) -> None:
    """Of a file only what it can cost."""
    provider = BatchProvider()
    message = [{"role": "user", "content": "the secret of the vineyard"}]
    async with begin(tmp_path, migrated, provider, batches=FAST) as run:
        batch = await submit(run, [chat_request(1, messages=message)])
        provider.finish(batch.id)
        await until_metered(run, 1)

    kept = (tmp_path / "farebox.db").read_bytes()
    assert b"vineyard" not in kept
    assert b"sk-simulated" not in kept


async def test_a_file_passes_in_pieces(tmp_path: Path, migrated: Path) -> None:
    """However it comes, the provider gets its bytes, and it is bounded."""
    provider = BatchProvider()
    data = lines_of([chat_request(n) for n in range(3)])
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
        + data
        + b'\r\n--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n'
    )

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(form), 7):
            yield form[at : at + 7]
            await asyncio.sleep(0)

    headers = bearer(KEY) | {"content-type": "multipart/form-data; boundary=x"}
    async with begin(tmp_path, migrated, provider) as run:
        sent = await run.client.post("/v1/files", content=pieces(), headers=headers)
        document = BODY | {"input_file_id": sent.json()["id"]}
        taken = await run.client.post("/v1/batches", json=document, headers=bearer(KEY))

        assert provider.files[sent.json()["id"]] == data
        assert taken.status_code == 200
        assert await held_nano(run) > 3 * 500 * 5_000


async def test_batches_that_are_not_metered_are_decided_by_policy(
    tmp_path: Path, migrated: Path
) -> None:
    """A blocking budget does not let through what nobody counts."""
    provider = BatchProvider()
    upstreams = {
        "sim": {"preset": "openai", "base_url": "{simulator}/v1"},
        "g": {"dialect": "gemini", "base_url": "{simulator}/v1beta"},
        "c": {"dialect": "cohere", "base_url": "{simulator}"},
    }
    models = [{"match": f"{name}*", "upstream": name} for name in upstreams]
    async with begin(tmp_path, migrated, provider, upstreams=upstreams, models=models) as run:
        paths = ("/v1/batch/jobs", "/v1/embed-jobs", "/v1beta/models/g:batchGenerateContent")
        answers = [await run.client.post(path, json={}, headers=bearer(KEY)) for path in paths]

        assert ["can't be bounded" in answer.text for answer in answers] == [True] * 3
        assert provider.heard == []
