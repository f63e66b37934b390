"""A model with several targets: the next one answers where one fails, and each try is a row."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.conftest import Start
from tests.e2e.heard import Heard
from tests.e2e.running import SIMULATED, Config, Running, as_billed, as_invoiced

WORDS = "water river morning light"


@asynccontextmanager
async def two(
    start: Start, first: str, second: str = "sim-output-tokens-9", **changes: Any
) -> AsyncIterator[tuple[Running, Heard]]:
    """Farebox with the model "fast": ``first`` at one provider, else ``second`` at another one."""
    backup = Heard(create_app())
    async with serve_simulator(backup) as url:
        upstreams = {
            "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": SIMULATED},
            "backup": {"preset": "openai", "base_url": f"{url}/v1", "api_key": SIMULATED},
        }
        upstreams["sim"] |= changes.pop("first_upstream", {})
        models = [
            {"name": "fast", "targets": [f"sim/{first}", f"backup/{second}"]},
            {"match": "*", "upstream": "sim"},
        ]
        async with start(upstreams=upstreams, models=models, **changes) as run:
            yield run, backup


def nobody() -> Config:
    """An upstream where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return {"base_url": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"}


async def test_the_first_target_answers(start: Start) -> None:
    """While it works, the others are not asked; its own name for the model is what it gets."""
    async with two(start, "gpt-4o") as (run, backup):
        answer = await run.chat(WORDS, model="fast")
        row, line = await run.only_call(), (await run.invoice())[0]
        (attempt,) = await run.attempts(row["id"])
    assert answer.json()["model"] == "gpt-4o-2024-08-06"
    assert run.heard.bodies[0]["model"] == "gpt-4o"
    assert backup.requests == 0
    assert as_billed(row) == as_invoiced(line)
    assert (row["model_requested"], row["upstream"]) == ("fast", "sim")
    assert (attempt["number"], attempt["model"]) == (1, "gpt-4o")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "error", "status"),
    [
        ("sim-status-429", "status_429", 429),
        ("sim-status-500", "status_500", 500),
        ("sim-status-503", "status_503", 503),
        ("sim-die-before-answer", "connection", None),
        ("sim-first-byte-ms-9000", "timeout", None),
        ("sim-default", "connect", None),
    ],
)
async def test_the_next_target_answers_where_one_fails(
    start: Start, first: str, error: str, status: int | None, stream: bool
) -> None:
    """The client sees the second answer only; both tries are rows, in their order."""
    broken = nobody() if error == "connect" else {"first_byte_timeout_s": 0.2}
    async with two(start, first, first_upstream=broken) as (run, backup):
        answer = await run.chat(WORDS, model="fast", stream=stream)
        row = await run.only_call()
        failed, answered = await run.attempts(row["id"])
        line = backup.simulator.invoice.lines[0]
        assert await run.verify() == []
        assert (await run.budget())["held_usd"] == "0.00"
    assert answer.status_code == 200
    assert (failed["number"], failed["upstream"]) == (1, "sim")
    assert (failed["error"], failed["status"]) == (error, status)
    assert (answered["number"], answered["upstream"], answered["error"]) == (2, "backup", "")
    assert answered["upstream_call_id"] == line.completion_id
    assert (row["attempts"], row["upstream"], row["status"]) == (2, "backup", 200)
    assert row["outcome"] == "completed"
    # What is not streamed is billed whole, also where it came too late.
    guessed = 512 if error == "timeout" and not stream else 0
    assert (row["output_tokens"], line.completion_tokens) == (9 + guessed, 9)


async def test_a_client_error_is_not_tried_elsewhere(start: Start) -> None:
    """What is wrong with the request is wrong everywhere."""
    async with two(start, "sim-status-400") as (run, backup):
        answer = await run.chat(WORDS, model="fast")
        assert (await run.only_call())["attempts"] == 1
    assert answer.status_code == 400
    assert backup.requests == 0


async def test_the_last_targets_error_is_the_answer(start: Start) -> None:
    """Where all fail, the client gets the last one's own words; nothing is charged."""
    async with two(start, "sim-status-500", "sim-status-429") as (run, backup):
        answer = await run.chat(WORDS, model="fast")
        row = await run.only_call()
        attempts = await run.attempts(row["id"])
        assert await run.settled_cleanly() == 0
    assert answer.status_code == 429
    assert backup.requests == 1
    assert [a["status"] for a in attempts] == [500, 429]
    assert [a["number"] for a in attempts] == [1, 2]


async def test_no_upstream_at_all_is_a_502(start: Start) -> None:
    """Nothing listens anywhere: two tries, one row, nothing charged."""
    models = [{"name": "fast", "targets": ["sim/gpt-4o", "sim/gpt-4o-mini"]}]
    async with start(models=models, sim=nobody()) as run:
        answer = await run.chat(WORDS, model="fast")
        row = await run.only_call()
        assert await run.settled_cleanly() == 0
    assert answer.status_code == 502
    assert (row["attempts"], row["outcome"]) == (2, "upstream_failed")


async def test_an_answer_that_broke_off_is_not_begun_again(start: Start) -> None:
    """Once the client has bytes of one answer, no other can take its place."""
    async with two(start, "sim-split-event+die-after-events-3") as (run, backup):
        with pytest.raises(httpx.RemoteProtocolError):
            await run.chat(WORDS, model="fast", stream=True)
        assert (await run.only_call())["outcome"] == "upstream_failed"
    assert backup.requests == 0


async def test_the_hold_covers_the_dearest_target(start: Start) -> None:
    """The budget is asked for the most that any of them may cost."""
    async with two(start, "gpt-4o-mini", "gpt-4o") as (run, _):
        for model in ("fast", "gpt-4o-mini", "gpt-4o"):
            await run.chat(WORDS, model=model, max_tokens=100)
        both, cheap, dear = (float(row["held_usd"]) for row in await run.calls())
    assert both >= dear > cheap


async def test_one_unpriced_target_is_enough(start: Start) -> None:
    """Where one of the targets has no price, the cost can't be bounded."""
    async with two(start, "gpt-4o", "sim-default", prices=[]) as (run, backup):
        refused = await run.chat(WORDS, model="fast")
    error = refused.json()["error"]
    assert error["code"] == "model_not_priced"
    assert '{upstream: backup, model: "sim-default"' in error["message"]  # the one without a price
    assert run.heard.requests == backup.requests == 0


async def test_a_client_that_leaves_is_not_tried_for_again(start: Start) -> None:
    """A stream whose client left while the first target was slow is not sent to the next."""
    slow = {"first_byte_timeout_s": 0.5}
    async with two(start, "sim-first-byte-ms-9000", first_upstream=slow) as (run, backup):
        call = asyncio.create_task(run.chat(WORDS, model="fast", stream=True))
        await run.upstream_heard(1)
        call.cancel()
        row = await run.only_call()
        assert await run.verify() == []
    assert (row["outcome"], row["attempts"]) == ("client_left", 1)
    assert backup.requests == 0
