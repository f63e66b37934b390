"""History rated anew, and the ledger beside the provider's own count, of calls that were really made."""

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from proxy.cli.providers import providers
from proxy.ledger.reprice import Repricing
from proxy.settings import PriceOverride
from proxy.store.call_filter import CallFilter
from proxy.store.export_forms import read_export
from proxy.store.ledger_days import ledger_days
from proxy.store.pricebook import layered_book
from proxy.store.reconcile import Tolerance, Verdict, compare, days_of
from tests.e2e.running import Row, Running, nano

_NANO = Decimal(10) ** -9


async def some_calls(run: Running) -> None:
    """Models, tiers and streams, also of a model that only the configuration prices."""
    bodies: list[dict[str, Any]] = [
        {"model": "gpt-4o-mini"},
        {"model": "gpt-4o", "stream": True},
        {"model": "gpt-5", "service_tier": "flex"},
        {"model": "gpt-5", "service_tier": "priority", "stream": True},
        {"model": "sim-default"},
    ]
    await asyncio.gather(*(run.chat("Hello there", **body) for body in bodies * 2))
    await run.is_idle()


async def reprice(run: Running, *more: PriceOverride) -> Repricing:
    """Rate everything anew, beside the server."""
    house = run.app.house
    book = layered_book([*more, *house.settings.prices])
    work = Repricing(house.database, book, providers(house.settings))
    async for _ in work.run(CallFilter()):
        pass
    return work


async def test_a_reprice_by_the_same_prices_changes_nothing(run: Running) -> None:
    """It rates a row as the data path rated the call, service tier and all."""
    await some_calls(run)
    flags = {
        f for call in await run.calls() for a in await run.attempts(call["id"]) for f in a["flags"]
    }

    work = await reprice(run)

    assert flags == {"tier=flex", "tier=priority"}
    assert work.tally.total.changed == 0
    assert work.tally.total.calls == 10
    assert work.tally.left == {}


async def test_a_reprice_beside_a_server_at_work_keeps_all_sums(run: Running) -> None:
    """Budgets, the admin's spend and each call's own row show the new cost."""
    await some_calls(run)
    before = await run.settled_cleanly()
    dear = PriceOverride(model="gpt-4o*", multiplier=Decimal(2))

    work, _ = await asyncio.gather(reprice(run, dear), some_calls(run))

    total = work.tally.total
    assert total.changed >= 4  # two of each model; more, if they ended in time
    assert total.difference_nano > 0
    after = await run.settled_cleanly()
    rows = await run.calls()
    assert after == sum(nano(row["cost_usd"]) for row in rows)
    assert after > before + total.difference_nano
    adjusted = [row for row in rows if row["adjusted_usd"] != "0.00"]
    assert sum(nano(row["adjusted_usd"]) for row in adjusted) == total.difference_nano
    assert await run.row(adjusted[0]["id"]) == adjusted[0]
    spend = (await run.admin("GET", "/spend?group_by=run"))["items"]
    assert sum(nano(row["cost_usd"]) for row in spend) == after


async def test_the_ledger_equals_the_provider_s_export(run: Running, tmp_path: Path) -> None:
    """Made of the simulator's own invoice, as OpenAI's API would show it; a bill that is doubled is seen."""
    await some_calls(run)
    await some_calls(run)
    exported = tmp_path / "usage.json"
    costs = tmp_path / "costs.json"

    assert await verdicts(run, exported, costs, await run.invoice()) == {Verdict.EQUAL: 4}
    doubled = [line for line in await run.invoice() for _ in range(2)]
    assert await verdicts(run, exported, costs, doubled) == {Verdict.DOUBLED_IN_EXPORT: 4}


async def verdicts(
    run: Running, exported: Path, costs: Path, invoice: list[Row]
) -> dict[Verdict, int]:
    """How many models got each verdict."""
    write_pages(exported, costs, invoice)
    export = read_export("openai", [exported, costs])
    days = days_of(export, None, None)
    ledger = await ledger_days(run.app.house.database, {"sim"}, days)
    found: dict[Verdict, int] = defaultdict(int)
    for row in compare(ledger, export, days, Tolerance()):
        found[row.verdict] += 1
    return found


def write_pages(exported: Path, costs: Path, invoice: list[Row]) -> None:
    """Pages of OpenAI's usage and costs, a bucket for each line."""
    usage, paid = [], []
    for line in invoice:
        midnight = datetime.fromtimestamp(line["arrived"], UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        bucket = {"object": "bucket", "start_time": int(midnight.timestamp())}
        result = {
            "object": "organization.usage.completions.result",
            "num_model_requests": 1,
            "input_tokens": line["prompt_tokens"],
            "input_cached_tokens": line["cached_tokens"],
            "output_tokens": line["completion_tokens"],
            "model": line["model"],
        }
        usage.append(bucket | {"results": [result]})
        amount = {"value": float(line["cost_nano"] * _NANO), "currency": "usd"}
        item = {"amount": amount, "line_item": f"{line['model']}, input"}
        paid.append(bucket | {"results": [item]})
    exported.write_text(json.dumps({"object": "page", "data": usage, "has_more": False}))
    costs.write_text(json.dumps({"object": "page", "data": paid, "has_more": False}))
