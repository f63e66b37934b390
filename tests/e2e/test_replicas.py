"""Several replicas on one database: budgets are exact together, and an outage of it costs nobody a call."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from httpx import AsyncClient

from bench.soak.config import KEYS, STEADY
from bench.soak.fits import fits
from bench.soak.outage import failures, outage
from bench.soak.plan import Plan
from bench.soak.soak import stage
from proxy.store.secret import new_secret
from tests.e2e.running import bearer

pytestmark = pytest.mark.xdist_group("replicas")  # each keeps every processor busy


async def test_exactly_what_fits_is_admitted(database: str, tmp_path: Path) -> None:
    """1,000 calls at once over three replicas, at a budget for 100.

    100 are admitted, none more at any commit; and none fewer, for who did not fit beside the holds
    of others waited until those had settled.
    """
    found = await fits(Plan(database=database, seed=1), tmp_path, calls=1000, fit=100)

    assert found.answers == Counter({"200": 100, "429 budget_exceeded": 900})
    assert found.cost_nano < found.hold_nano  # else nobody had to wait
    assert found.failures() == []
    assert found.outcome.watch.snapshots > 10


@pytest.mark.parametrize("unavailable", ["allow", "reject"])
async def test_the_database_goes_away_and_comes_back(unavailable: str, tmp_path: Path) -> None:
    """With ``allow`` no client sees an error; with ``reject`` each is told so within a second.

    Either way everything is in the ledger once the database is back.
    """
    plan = Plan(database="postgres", seed=2, clients=8, unavailable=unavailable, upstream_s=10)
    found = await outage(plan, tmp_path, 2.0, lambda _: None)

    assert failures(found) == []
    refused = found.tally.answers["503 ledger_unavailable"]
    assert (refused == 0) == (unavailable == "allow")
    assert found.tally.answers["200"] > 0


async def test_nothing_hangs_while_the_database_stands_still(tmp_path: Path) -> None:
    """It takes connections and answers nothing: a probe, a scrape and a call say so in time."""
    plan = Plan(database="postgres", replicas=1)
    chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    async with stage(plan, tmp_path) as it, AsyncClient(base_url=it.replicas[0].url) as client:

        async def ask(method: str, path: str, key: str = KEYS[STEADY]) -> tuple[str, int, float]:
            began = time.monotonic()
            json = chat if method == "POST" else None
            answer = await client.request(method, path, headers=bearer(key), json=json, timeout=10)
            return path, answer.status_code, time.monotonic() - began

        pausing = asyncio.create_task(it.home.pause(6))
        await asyncio.sleep(0)  # its first step is to stop the server
        seen = [
            await ask("GET", "/readyz"),
            await ask("GET", "/metrics"),
            await ask("POST", "/v1/chat/completions"),
            await ask("POST", "/v1/chat/completions", new_secret()),
        ]
        await pausing

    assert [status for _, status, _ in seen] == [503, 200, 503, 503]
    limits = (2.5, 2.5, 1.0, 1.0)
    assert [path for (path, _, took), most in zip(seen, limits, strict=True) if took > most] == []
