"""A response in the background is settled once, with its provider's own figures, by whichever process lives."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from msgspec.structs import replace
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from proxy.app.house import House
from proxy.core.errors import LedgerError
from proxy.simulator import serve as serve_simulator
from proxy.store.engine import Database
from proxy.store.objects import ObjectStore
from proxy.store.schema import holds
from tests.e2e.commands import Service, service
from tests.e2e.running import ADMIN, KEY, Row, bearer, config, eventually, farebox, nano
from tests.migrated import make_tables

USAGE = {"input_tokens": 1_000, "output_tokens": 200, "total_tokens": 1_200}
COST_NANO = 1_000 * 2_500 + 200 * 10_000  # $2.50 and $10 for a million tokens
BODY = {"model": "gpt-4o", "input": "Think long", "background": True, "max_output_tokens": 4_000}
POLL_S = 0.05


class Provider(Starlette):
    """Makes a response for as long as a test wants."""

    def __init__(self) -> None:
        self.status = "queued"
        self.keys: set[str] = set()
        self.asked = 0
        self.going_on = asyncio.Event()
        super().__init__(
            routes=[
                Route("/v1/responses", self._begin, methods=["POST"]),
                Route("/v1/responses/{id}", self._state),
            ]
        )

    def close(self) -> None:
        """Nothing is held."""

    def _shown(self) -> dict[str, Any]:
        over = self.status == "completed"
        return {
            "id": "resp_1", "object": "response", "status": self.status, "model": "gpt-4o",
            "background": True, "output": [], "usage": USAGE if over else None,
        }  # fmt: skip

    async def _begin(self, request: Request) -> Response:
        if (await request.json()).get("stream"):
            return StreamingResponse(self._events(), media_type="text/event-stream")
        return JSONResponse(self._shown())

    async def _events(self) -> AsyncIterator[str]:
        created = {"type": "response.created", "response": self._shown()}
        yield f"event: response.created\ndata: {json.dumps(created)}\n\n"
        await self.going_on.wait()

    async def _state(self, request: Request) -> Response:
        self.asked += 1
        self.keys.add(request.headers["authorization"])
        found = self.status != "deleted"
        return JSONResponse(self._shown() if found else {"error": {}}, 200 if found else 404)


class Farm:
    """Processes of Farebox, one after the other, on one database."""

    def __init__(self, folder: Path, url: str, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.database = url
        self.process: Service | None = None
        self.client = httpx.AsyncClient(timeout=30)

    async def begin(self) -> None:
        """Another process."""
        begun = service(self._folder, "--config", "farebox.yaml")
        self.process = await asyncio.to_thread(self._stack.enter_context, begun)

    async def end(self, how: signal.Signals) -> None:
        """The end of the process."""
        assert self.process is not None
        await asyncio.to_thread(self.process.stop, how)

    def at(self, path: str) -> str:
        """Where the process serves a path."""
        assert self.process is not None
        return self.process.url + path

    async def budget(self) -> tuple[int, int]:
        """Spent and held."""
        answer = await self.client.get(self.at("/admin/v1/budgets"), headers=bearer(ADMIN))
        (budget,) = answer.json()["items"]
        return nano(budget["spent_usd"]), nano(budget["held_usd"])

    async def calls(self) -> list[Row]:
        """The rows of all calls."""
        answer = await self.client.get(self.at("/admin/v1/calls"), headers=bearer(ADMIN))
        rows: list[Row] = answer.json()["items"]
        return rows

    async def make_due(self) -> None:
        """Who was killed has a minute, before another asks."""
        known = ObjectStore(database := Database(self.database))
        found = await known.find("resp_1")
        assert found is not None
        await known.put_off(found, 1)
        await database.close()


@pytest.fixture
async def farm(
    database: str, tmp_path: Path, migrated: Path, provider: Provider
) -> AsyncIterator[Farm]:
    if database == "sqlite":
        url = f"sqlite:///{tmp_path}/farebox.db"
        shutil.copy(migrated, tmp_path / "farebox.db")
    else:
        url = database
        await make_tables(url)
    app: Any = provider
    async with serve_simulator(app) as address, AsyncExitStack() as stack:
        document = config(
            address, tmp_path, batches={"poll_s": POLL_S}, ledger={"lease_s": 0.2}, database=url
        )
        document["logging"] = {"level": "info"}
        (tmp_path / "farebox.yaml").write_text(yaml.safe_dump(document))
        made = Farm(tmp_path, url, stack)
        await made.begin()
        yield made
        provider.going_on.set()
        await made.client.aclose()


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_another_process_settles_it(
    farm: Farm, provider: Provider, how: signal.Signals
) -> None:
    """After a crash, or a deployment: its hold stays, and the call's own row has what was billed."""
    answer = await farm.client.post(farm.at("/v1/responses"), json=BODY, headers=bearer(KEY))
    call_id = answer.headers["x-farebox-call-id"]
    _, held = await farm.budget()
    await farm.end(how)
    await farm.begin()
    kept = await farm.budget()
    await farm.make_due()

    async def asked_again() -> bool:
        return provider.asked > before

    before = provider.asked
    await eventually(asked_again)
    going_on = await farm.budget(), await farm.calls()
    provider.status = "completed"
    await farm.make_due()

    (row,) = await eventually(farm.calls)

    assert answer.json()["status"] == "queued"
    assert held > COST_NANO
    assert kept == (0, held)
    assert going_on == ((0, held), [])
    assert await farm.budget() == (COST_NANO, 0)
    assert (row["id"], row["endpoint"], row["usage_source"]) == (call_id, "responses", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (1_000, 200)
    assert (row["team"], row["key"], row["outcome"]) == ("search", "search-key", "completed")
    assert provider.keys == {"Bearer sk-simulated"}


async def test_a_stream_that_is_cut_by_a_crash_is_followed(farm: Farm, provider: Provider) -> None:
    """It is noted as soon as its stream says what it is."""
    body = BODY | {"stream": True}
    async with farm.client.stream(
        "POST", farm.at("/v1/responses"), json=body, headers=bearer(KEY)
    ) as answer:
        first = await anext(answer.aiter_bytes())
        await eventually(lambda: _noted(farm))
        await farm.end(signal.SIGKILL)
    await farm.begin()
    kept = await farm.budget()
    provider.status = "completed"
    await farm.make_due()

    (row,) = await eventually(farm.calls)

    assert b"response.created" in first
    assert kept[1] > 0
    assert (row["stream"], row["usage_source"]) == (True, "provider")
    assert await farm.budget() == (COST_NANO, 0)


async def _noted(farm: Farm) -> bool:
    """Whether its hold is nobody's by now."""
    database = Database(farm.database)
    try:
        found = await database.fetch(select(holds.c.until_us))
        return [row["until_us"] > 0 for row in found] == [True]
    finally:
        await database.close()


async def test_what_was_deleted_meanwhile_is_estimated(farm: Farm, provider: Provider) -> None:
    """Nobody can tell any more what it cost."""
    await farm.client.post(farm.at("/v1/responses"), json=BODY, headers=bearer(KEY))
    await farm.end(signal.SIGKILL)
    provider.status = "deleted"
    await farm.begin()
    await farm.make_due()

    (row,) = await eventually(farm.calls)

    assert row["usage_source"] == "estimated"
    assert await farm.budget() == (nano(row["cost_usd"]), 0)


@asynccontextmanager
async def one_process(
    folder: Path, migrated: Path, provider: Provider, poll_s: float = POLL_S
) -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
    """Farebox in this process, and who may ask its admin API."""
    app: Any = provider
    async with serve_simulator(app) as there:
        document = config(there, folder, batches={"poll_s": poll_s})
        async with (
            farebox(folder, document, migrated) as (url, served),
            httpx.AsyncClient(base_url=url, headers=bearer(ADMIN)) as client,
        ):
            yield served.house, client


async def begun(house: House, client: httpx.AsyncClient) -> None:
    """Ask for a response in the background; what its call's task has to do is done."""
    await client.post("/v1/responses", json=BODY, headers=bearer(KEY))
    await house.pipeline.ended()


async def only_call(client: httpx.AsyncClient) -> Row:
    """The row of the one call that there was."""
    (row,) = (await client.get("/admin/v1/calls")).json()["items"]
    found: Row = row
    return found


async def test_what_was_thought_lost_is_put_right(
    tmp_path: Path, migrated: Path, provider: Provider
) -> None:
    """The hold may have ended, by a day's time, before its provider said what it cost."""
    async with one_process(tmp_path, migrated, provider) as (house, client):
        await begun(house, client)
        await house.ledger.sweep(2**62)
        lost = await only_call(client)
        provider.status = "completed"

        async def replaced() -> Row | None:
            row = await only_call(client)
            return row if row["outcome"] == "completed" else None

        row = await eventually(replaced)
        assert row is not None
        assert await house.ledger.verify() == []

    assert (lost["outcome"], lost["id"]) == ("lost", row["id"])
    assert nano(row["cost_usd"]) == COST_NANO


async def test_what_could_not_be_noted_is_estimated_at_the_end(
    tmp_path: Path, migrated: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would ask: the hold ends with a charge, and the row says so."""

    async def failing(*_: object) -> None:
        raise LedgerError("away")

    async with one_process(tmp_path, migrated, provider) as (house, client):
        monkeypatch.setattr(house.objects, "put", failing)
        await begun(house, client)
        row = await only_call(client)
        shown = (await client.get(f"/admin/v1/calls/{row['id']}")).json()
        assert await house.ledger.verify() == []

    assert (row["usage_source"], shown["attempt_rows"][0]["error"]) == ("estimated", "not_followed")
    assert nano(row["cost_usd"]) > 0


async def test_an_upstream_that_is_gone_is_not_asked_for_ever(
    tmp_path: Path, migrated: Path, provider: Provider
) -> None:
    """Its hold was lost days ago, and charged by policy."""
    async with one_process(tmp_path, migrated, provider, poll_s=600) as (house, client):
        await begun(house, client)
        known = await house.objects.find("resp_1")
        assert known is not None
        day_us = 86_400 * 1_000_000
        data = known.data.replace(str(known.created_at_us), str(known.created_at_us - 5 * day_us))
        fresh, old = replace(known, upstream="gone"), replace(known, data=data)
        background = house.pipeline.polling._background
        again = [await background.advance(one, house.pipeline.config) for one in (fresh, old)]

    assert again == [True, False]
