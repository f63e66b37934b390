"""A real Prometheus beside two replicas on one PostgreSQL: every panel has something to show, and it is the ledger's."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from tests.e2e.running import KEY, Config, Running, bearer, config, farebox, nano, running
from tests.e2e.watching import Prometheus, watching
from tests.packaging import boards
from tests.postgres import new_database

LIMITED = {"name": "limited", "max_output_tokens": 5, "budgets": [{"limit_usd": "0.0001"}]}
WARNED = {"limit_usd": "0.000001", "window": "day", "on_exceed": "warn"}
SEARCH = {"name": "search", "budgets": [{"limit_usd": 100, "window": "month"}, WARNED]}
CHANGES: Config = {
    "prices": [],
    "teams": [SEARCH, LIMITED, {"name": "open"}],
    "keys": [
        {"name": "search-key", "team": "search", "key": KEY},
        {"name": "limited-key", "team": "limited", "key": KEY + "-l"},
        {"name": "open-key", "team": "open", "key": KEY + "-o"},
    ],
}


@dataclass(frozen=True)
class Stage:
    """Two replicas on one database, and who watches them."""

    replicas: tuple[Running, Running]
    database: str
    prometheus: Prometheus

    async def calls(self) -> list[dict[str, Any]]:
        """The ledger's rows."""
        for run in self.replicas:
            await run.is_idle()
        return await self.replicas[0].calls()


@asynccontextmanager
async def stage(folder: Path, server: str) -> AsyncIterator[Stage]:
    """All of it, in the order that it needs."""
    second = folder / "second"
    second.mkdir()
    async with (
        new_database(server) as database,
        running(folder, None, database=database, **CHANGES) as one,
    ):
        document = config(one.upstream, second, database=database, **CHANGES)
        async with (
            farebox(second, document) as (url, app),
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):
            two = replace(one, url=url, app=app, client=client)
            await busy(one)
            async with watching(folder, [one.url, two.url]) as prometheus:
                yield Stage((one, two), database, prometheus)  # fmt: skip


async def busy(run: Running) -> None:
    """Calls of all kinds: streamed, cached, failed, refused, capped, left, unpriced, uncounted."""
    for controls in ("output_tokens=30", "cached_tokens=3, reasoning_tokens=9"):
        for stream in (False, True):
            await run.chat(f"Hello [[sim: {controls}]]", stream=stream)
    await run.chat("[[sim: no_usage]]")
    await run.chat("[[sim: status=500]]")
    await run.chat("[[sim: die_before_answer]]")
    await run.chat(model="sim-default", key=KEY + "-o")
    while (await run.chat(key=KEY + "-l")).status_code != 429:
        pass
    await leave(run)


async def leave(run: Running) -> None:
    """A client that goes away in the middle of its answer."""
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Hello [[sim: stall_after_events=2]]"}]}  # fmt: skip
    sending = run.client.stream("POST", "/v1/chat/completions", json=body, headers=bearer(KEY + "-o"))  # fmt: skip
    async with sending as answer:
        await anext(answer.aiter_bytes())


async def test_every_panel_shows_something_and_money_is_the_ledgers(
    tmp_path: Path, postgres_server: str
) -> None:
    """Two replicas' counts add up to the ledger's rows, its budgets are shown once, no query comes back empty."""
    async with stage(tmp_path, postgres_server) as it:
        await it.prometheus.has_seen(len(await it.calls()))
        for run in it.replicas:  # a rate needs something that grows between two scrapes
            await busy(run)
        rows = await it.calls()
        await it.prometheus.has_scraped_since(time.time())
        await it.prometheus.has_seen(len(rows))

        assert "\n".join(await empty_panels(it)) == ""
        await counters_are_the_rows(it, rows)
        await budgets_are_the_ledgers(it)
        await the_ledgers_panels_agree(it, rows)
        await variables_have_values(it)
        await exemplars_are_calls(it, rows)
        await an_alert_tells_of_the_call_without_a_price(it)


async def empty_panels(it: Stage) -> list[str]:
    """The queries that give no number."""
    found = []
    for target in boards.promql():
        samples = await it.prometheus.query(boards.as_promql(target.query))
        if not any(math.isfinite(value) for _, value in samples):
            found.append(f"{target}: {target.query}")
    return found


async def counters_are_the_rows(it: Stage, rows: list[dict[str, Any]]) -> None:
    """Calls, tokens and dollars by team, over both replicas."""
    calls: defaultdict[tuple[str, ...], int] = defaultdict(int)
    tokens: defaultdict[tuple[str, ...], int] = defaultdict(int)
    cost: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        calls[row["outcome"], row["team"]] += 1
        for kind in ("input", "output", "cached", "reasoning"):
            tokens[kind, row["team"]] += row[f"{kind}_tokens"]
        cost[row["team"],] += nano(row["cost_usd"])
    asked = it.prometheus.sums

    assert await asked("sum by (outcome, team) (farebox_calls_total)") == calls
    assert {"completed", "client_left", "upstream_failed", "refused"} == {o for o, _ in calls}
    assert await asked("sum by (kind, team) (farebox_tokens_total)") == {
        key: count for key, count in tokens.items() if count
    }
    spent = await asked("sum by (team) (farebox_cost_usd_total)")
    assert {team: round(usd * 1e9) for team, usd in spent.items()} == {
        team: amount for team, amount in cost.items() if amount
    }


async def budgets_are_the_ledgers(it: Stage) -> None:
    """What the dashboard of budgets shows of each is what the admin API says, from whichever replica."""
    panels = {str(target): target.query for target in boards.promql()}
    letters = dict(zip(("limit", "spent", "held", "left"), "ABCD", strict=True))
    budgets = (await it.replicas[1].admin("GET", "/budgets"))["items"]
    assert len(budgets) == 3
    for name, letter in letters.items():
        expr = boards.as_promql(panels[f"budgets: All budgets, {letter}"])
        shown = {m["budget"]: round(v * 1e9) for m, v in await it.prometheus.query(expr)}
        for budget in budgets:
            amounts = {k: nano(budget[f"{k}_usd"]) for k in ("limit", "spent", "held")}
            amounts["left"] = amounts["limit"] - amounts["spent"] - amounts["held"]
            assert shown[budget["id"]] == amounts[name], (budget["id"], name)


async def the_ledgers_panels_agree(it: Stage, rows: list[dict[str, Any]]) -> None:
    """The money panels of the same folder, asked of the same ledger."""
    [target] = [t for t in boards.sql() if t.title == "By team, model and upstream"]
    now = int(time.time())
    connection = await asyncpg.connect(it.database)
    found = await connection.fetch(boards.as_sql(target.query, now - 3600, now))
    await connection.close()

    assert sum(row["Cost"] for row in found) == sum(Decimal(row["cost_usd"]) for row in rows)
    assert sum(row["Calls"] for row in found) == len(rows)


async def variables_have_values(it: Stage) -> None:
    """Teams, models and upstreams can be chosen; the note knows where the ledger is."""
    labels = {"team": "search", "model": "sim-default", "upstream": "sim"}
    for label, value in labels.items():
        values = await it.prometheus.get(f"label/{label}/values", **{"match[]": "farebox_calls_total"})  # fmt: skip
        assert value in values
    assert await it.prometheus.get("label/database/values", **{"match[]": "farebox_info"}) == [
        "postgresql"
    ]


async def exemplars_are_calls(it: Stage, rows: list[dict[str, Any]]) -> None:
    """A dot in a panel of latency leads to a call that is in the ledger."""
    found = await it.prometheus.get(
        "query_exemplars",
        query="farebox_call_duration_seconds_bucket",
        start=str(time.time() - 600),
        end=str(time.time() + 60),
    )
    ids = {e["labels"]["call_id"] for series in found for e in series["exemplars"]}

    assert ids
    assert ids <= {row["id"] for row in rows}


async def an_alert_tells_of_the_call_without_a_price(it: Stage) -> None:
    """With the words that people will read."""
    async with asyncio.timeout(60):
        while True:
            alerts = (await it.prometheus.get("alerts"))["alerts"]
            told = [a for a in alerts if a["labels"]["alertname"] == "FareboxUnpricedCalls"]
            if told:
                break
            await asyncio.sleep(0.2)

    assert told[0]["annotations"]["summary"] == "No price for sim-default at sim"
    assert "calls of team open to sim-default at sim have no price" in told[0]["annotations"]["description"]  # fmt: skip
