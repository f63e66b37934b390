"""The database goes away in the middle of a call, and the spool is of no use either."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import eventually

TWO = {
    "upstreams": {
        "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": "sk-simulated"},
        "spare": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": "sk-simulated"},
    },
    "models": [{"name": "fast", "targets": ["sim/gpt-4o-mini", "spare/gpt-4o-mini"]}],
}


async def test_a_fallback_without_database_and_spool_is_answered_all_the_same(
    start: Start, tmp_path: Path
) -> None:
    """Its client gets what the second upstream says; a new call is refused; no attempt is lost."""
    (tmp_path / "no-folder").touch()
    ledger = {"spool_dir": str(tmp_path / "no-folder" / "spool")}
    async with start(ledger=ledger, **TWO) as it:
        prompt = "[[sim: status=503, first_byte_ms=200]]"
        under_way = asyncio.create_task(it.chat(prompt, model="fast"))
        await it.upstream_heard(1)
        lock = sqlite3.connect(tmp_path / "farebox.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")

        answer = await under_way
        refused = await it.chat(model="fast")
        stats = it.app.house.ledger.stats
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_overloaded")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
        assert (stats.attempts_unnoted, it.heard.requests) == (1, 2)
        lock.close()

        async def written() -> bool:
            stats = it.app.house.ledger.stats
            return not stats.unwritten and stats.available

        await eventually(written)
        (row,) = [row for row in await it.calls() if row["attempts"]]
        assert [a["error"] for a in await it.attempts(row["id"])] == [
            "status_503",
            "engine_overloaded",
        ]
        assert await it.settled_cleanly() == 0


@pytest.mark.parametrize(("unavailable", "status"), [("reject", 503), ("allow", 200)])
async def test_readiness_is_whether_calls_are_taken(
    start: Start, tmp_path: Path, unavailable: str, status: int
) -> None:
    """Also where the database still answers what is read; and it comes back by itself."""
    async with start(ledger={"unavailable": unavailable}) as it:
        lock = sqlite3.connect(tmp_path / "farebox.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        call = await it.chat()
        ready = await it.client.get("/readyz")
        lock.close()

        async def back() -> bool:
            return it.app.house.ledger.stats.available

        await eventually(back)
        again = await it.client.get("/readyz")
    assert (call.status_code, ready.status_code) == (status, status)
    assert (again.status_code, again.json()) == (200, {"status": "ready"})
