"""Stopping Farebox: calls under way may finish, and those that can't are settled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.heard import Heard
from tests.e2e.running import (
    KEY,
    Config,
    Row,
    Running,
    as_billed,
    as_invoiced,
    bearer,
    chat_body,
    config,
    eventually,
    farebox,
)
from tests.e2e.wire import Answer, Wire, message, wired

PROMPT = "water river morning light"
SLOW = [{"role": "user", "content": "[[sim: first_byte_ms=9000]]"}]


class House:
    """A database, a provider, and Fareboxes that come and go."""

    def __init__(self, folder: Path, template: Path, upstream: str, heard: Heard) -> None:
        self._folder = folder
        self._template = template
        self._upstream = upstream
        self._heard = heard

    @asynccontextmanager
    async def open(self, *, grace_s: int = 0, sim: Config | None = None) -> AsyncIterator[Running]:
        """A Farebox on the database; when the block ends it is stopped, whatever is under way."""
        document = config(self._upstream, self._folder, sim=sim)
        async with farebox(self._folder, document, self._template, grace_s=grace_s) as (url, app):
            await app.house.tokenizer.load()
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                yield Running(url, self._upstream, app, self._heard, client)

    async def left(self) -> tuple[list[Row], list[Row], list[Row]]:
        """What a new Farebox finds on the database: rows, their attempts, and the provider's invoice.

        Nothing may be held, and every total must be the sum of its rows.
        """
        async with self.open() as run:
            rows = await run.calls()
            attempts = [a for row in rows for a in await run.attempts(row["id"])]
            await run.settled_cleanly()
            invoice = await run.invoice()
        return rows, attempts, invoice


@pytest.fixture
async def house(tmp_path: Path, migrated: Path) -> AsyncIterator[House]:
    heard = Heard(create_app())
    async with serve_simulator(heard) as upstream:
        yield House(tmp_path, migrated, upstream, heard)


async def begin(wire: Wire, **body: object) -> None:
    """Send a chat completion, and don't wait."""
    data = orjson.dumps(chat_body(PROMPT, **body))
    await wire.send(message(headers=list(bearer(KEY).items()), body=data))


async def stopped_during(house: House, *, grace_s: int, **body: object) -> Answer:
    """The answer to a call during which Farebox is stopped."""
    async with AsyncExitStack() as running:
        run = await running.enter_async_context(house.open(grace_s=grace_s))
        async with wired(run.url) as wire:
            await begin(wire, **body)
            await run.upstream_heard(1)
            answer = asyncio.create_task(wire.answer())
            await running.aclose()
            return await answer


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_under_way_may_finish(house: House, stream: bool) -> None:
    """Within the grace the client gets its whole answer, and the row is the provider's bill."""
    model = "sim-first-byte-ms-200+event-ms-5+output-tokens-9"
    answer = await stopped_during(house, grace_s=5, model=model, stream=stream)
    (row,), _, (line,) = await house.left()
    assert (answer.status, answer.whole) == (200, True)
    assert as_billed(row) == as_invoiced(line)
    assert row["outcome"] == "completed"


async def test_what_can_not_finish_is_settled(house: House) -> None:
    """After the grace a stream is cut off: its client sees that, and the row has what was relayed."""
    model = "sim-split-event+output-tokens-30+stall-after-events-9"
    answer = await stopped_during(house, grace_s=0, model=model, stream=True)
    (row,), (attempt,), (line,) = await house.left()
    assert (answer.status, answer.whole) == (200, False)
    assert (row["outcome"], row["usage_source"]) == ("lost", "counted")
    assert attempt["error"] == "stopped"
    assert as_billed(row) == as_invoiced(line)
    assert row["output_tokens"] == 8


@pytest.mark.parametrize("stream", [False, True])
async def test_what_waits_for_its_answer_is_settled(house: House, stream: bool) -> None:
    """A call that had no byte yet: the provider had the prompt."""
    async with AsyncExitStack() as running:
        run = await running.enter_async_context(house.open())
        async with wired(run.url) as wire:
            await begin(wire, model="sim-first-byte-ms-9000", stream=stream)
            await run.upstream_heard(1)
            await running.aclose()
            assert await wire.closed()
    (row,), (attempt,), (line,) = await house.left()
    assert (row["outcome"], row["status"], attempt["error"]) == ("lost", 0, "stopped")
    assert row["input_tokens"] == line["prompt_tokens"]


async def test_a_drained_stream_is_settled(house: House) -> None:
    """Nobody waits for it any more, but the provider bills it: it has the grace, and then is counted."""
    async with house.open(sim={"on_client_leave": "drain"}) as run:
        async with wired(run.url) as wire:
            await begin(wire, model="sim-split-event+stall-after-events-5", stream=True)
            await run.upstream_heard(1)

        async def noticed() -> bool:
            return run.app.house.pipeline.draining == 1

        await eventually(noticed)
    (row,), (attempt,), (line,) = await house.left()
    assert (row["outcome"], row["usage_source"]) == ("client_left", "counted")
    assert attempt["error"] == "stopped"
    assert as_billed(row) == as_invoiced(line)


async def test_a_call_that_waits_for_the_budget_leaves_no_hold(house: House) -> None:
    """It was never forwarded: nothing is held and nothing charged."""
    body = {"model": "gpt-4o", "max_tokens": 100, "messages": SLOW}
    async with AsyncExitStack() as running, AsyncExitStack() as wires:
        run = await running.enter_async_context(house.open())
        await run.admin("PUT", "/budgets", json={"id": "team:search:month", "limit_usd": "0.0045"})
        await begin(await wires.enter_async_context(wired(run.url)), **body)
        await run.upstream_heard(1)
        await begin(await wires.enter_async_context(wired(run.url)), **body)

        async def both() -> bool:
            return run.app.house.pipeline.in_flight == 2

        await eventually(both)
        await running.aclose()
    rows, attempts, invoice = await house.left()
    assert len(attempts) == len(invoice) == 1
    assert [row["outcome"] for row in rows if row["attempts"]] == ["lost"]


async def test_an_upload_that_is_cut_off_has_a_row(house: House) -> None:
    """What is passed through is on record as well, though nothing of it is metered."""
    head = [*bearer(KEY).items(), ("content-type", "audio/wav"), ("content-length", "9999")]
    async with AsyncExitStack() as running:
        run = await running.enter_async_context(house.open())
        async with wired(run.url) as wire:
            await wire.send(message("POST", "/v1/files", head, b"the first bytes"))
            await run.upstream_heard(1)
            await running.aclose()
    (row,), (attempt,), _ = await house.left()
    assert (row["outcome"], row["usage_source"], row["cost_usd"]) == ("lost", "none", "0.00")
    assert attempt["error"] == "stopped"


async def test_many_at_once(house: House) -> None:
    """Forty calls in every state, stopped at once: each has one row, and the ledger adds up."""
    models = (
        "sim-first-byte-ms-9000",
        "sim-split-event+stall-after-events-3",
        "sim-event-ms-30+output-tokens-300",
        "sim-event-ms-30+die-after-events-2",
    )
    async with AsyncExitStack() as running, AsyncExitStack() as wires:
        run = await running.enter_async_context(house.open())
        for number in range(40):
            wire = await wires.enter_async_context(wired(run.url))
            await begin(wire, model=models[number % 4], stream=bool(number % 3))
        await run.upstream_heard(40)
        await running.aclose()
    rows, attempts, invoice = await house.left()
    assert len(rows) == len(attempts) == len(invoice) == 40
    outcomes = [row["outcome"] for row in rows]
    assert outcomes.count("lost") >= 20
    assert set(outcomes) <= {"lost", "upstream_failed", "completed"}


async def test_nothing_new_is_taken_while_stopping(house: House) -> None:
    """New connections are refused; a further call on an old one is told to go elsewhere, or closed."""
    async with AsyncExitStack() as running:
        run = await running.enter_async_context(house.open(grace_s=5))
        async with wired(run.url) as wire:
            await begin(wire, model="sim-first-byte-ms-600")
            await run.upstream_heard(1)
            stopping = asyncio.create_task(running.aclose())
            address = urlsplit(run.url)

            async def refused() -> bool:
                try:
                    _, writer = await asyncio.open_connection(address.hostname, address.port)
                except ConnectionError:
                    return True
                writer.close()
                return False

            await eventually(refused)
            assert (await wire.answer()).status == 200
            await stopping
    assert len((await house.left())[0]) == 1


async def test_stopping_when_idle_is_quick(house: House) -> None:
    """Open connections that wait for nothing do not hold it up."""
    async with house.open(grace_s=30) as run:
        answer = await run.chat("Hello")
        assert answer.status_code == 200
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 5
