"""One window of time, one sum: by page, report, exports, admin API and Grafana's panel."""

import asyncio
import csv
import io
import json
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import func, select

from proxy.store.engine import Database
from proxy.store.schema import adjustments
from tests.ledger.past import prices, reprice
from tests.packaging import boards
from tests.packaging.seeded import STATEMENTS, nano
from tests.postgres import new_database
from tests.ui.conftest import Browser
from tests.ui.served import TOKEN, demo_settings, fill, serving

DAY_S = 86_400
WINDOW_DAYS = 10


@pytest.fixture(name="ledger", params=["sqlite", "postgresql"])
async def _ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Three weeks of a made-up company's calls, corrected since."""
    if request.param == "sqlite":
        yield await _filled(f"sqlite:///{tmp_path}/farebox.db")
        return
    async with new_database(request.getfixturevalue("postgres_server")) as url:
        yield await _filled(url)


async def _filled(url: str) -> str:
    await asyncio.to_thread(fill, url, 1200, 21)
    database = Database(url)
    await reprice(database, prices(any=("3", "4")))
    rows = await database.fetch(select(func.sum(adjustments.c.amount_nano).label("nano")))
    await database.close()
    assert rows[0]["nano"], "the corrections would not show"
    return url


async def test_the_sum_is_the_same_wherever_it_is_shown(ledger: str, tmp_path: Path) -> None:
    """To the nano-dollar, corrections among it."""
    now_s = int(time.time())
    from_s = now_s // DAY_S * DAY_S - WINDOW_DAYS * DAY_S
    until_s = now_s // DAY_S * DAY_S  # whole days: what all of them can be asked for
    first, last = _iso(from_s), _iso(until_s)
    config = tmp_path / "farebox.yaml"
    config.write_text(json.dumps({"database": ledger}))

    with serving(demo_settings(ledger)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            asked = {"group_by": "team", "from": first, "to": last}
            answer = await client.get(
                "/admin/v1/spend", params=asked, headers={"authorization": f"Bearer {TOKEN}"}
            )
            assert answer.status_code == 200, answer.text
            browser = Browser(client)
            await browser.login()
            await browser.get(f"/ui?from={first[:10]}&to={_iso(until_s - 1)[:10]}&by=team")
            page = browser.attribute("#by-day .quiet", "title")

    sums = {
        "admin API": sum(nano(row["cost_usd"]) for row in answer.json()["items"]),
        "page": nano(page.replace("$", "").replace(",", "")),
        "report": sum(
            nano(row["cost_usd"])
            for row in json.loads(
                await _farebox(
                    config, "report", "spend", "--by", "model", "--format", "json",
                    "--from", first, "--to", last,
                )
            )
        ),
        "export": _column(
            await _farebox(config, "export", "--from", first, "--to", last), "cost_usd"
        ),
        "FOCUS": _column(
            await _farebox(config, "export", "--format", "focus", "--from", first, "--to", last),
            "BilledCost",
        ),
    }  # fmt: skip
    if ledger.startswith("postgresql"):  # Grafana's money panels read no file of SQLite
        sums["Grafana"] = await _panel(ledger, from_s, until_s - 1)

    assert sums["report"] > 0
    assert set(sums.values()) == {sums["report"]}, sums


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _column(text: str, name: str) -> int:
    rows = csv.DictReader(io.StringIO(text))
    return nano(sum((Decimal(row[name]) for row in rows), Decimal(0)))


async def _farebox(config: Path, *arguments: str) -> str:
    """What the command prints."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "--config", str(config), *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await command.communicate()
    assert command.returncode == 0
    return out.decode()


async def _panel(ledger: str, from_s: int, to_s: int) -> int:
    """What the dashboard says of the time that is shown."""
    query = STATEMENTS["spend: In the time shown"].query
    connection = await asyncpg.connect(ledger)
    [row] = await connection.fetch(boards.as_sql(query, from_s, to_s))
    await connection.close()
    return nano(row["Spent"])
