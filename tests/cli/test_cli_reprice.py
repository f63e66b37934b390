"""``farebox reprice`` and ``farebox db prune``: what is changed, and what is said about it."""

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import select

from proxy.cli.root import OK, USAGE
from proxy.store.engine import Database
from proxy.store.schema import calls
from tests.cli.conftest import Cli
from tests.observe.samples import STARTED_US
from tests.store.filled import HOUR_US, a_call

WHEN = ("--from", "2026-11-18", "--to", "2026-11-21")
PRICES = """
upstreams:
  openai: {base_url: http://127.0.0.1:9/v1, price_provider: openai}
prices:
  - {upstream: openai, model: "gpt-5-mini*", input_per_mtok: 1, output_per_mtok: 2}
"""
# The sample has 1,234 tokens in and 100 out; it was charged 1,234,567 nano-dollars.
NOW = "0.001434"
DIFFERENCE = "0.000199433"


@pytest.fixture
def priced(cli: Cli) -> Cli:
    """A configuration that prices the samples."""
    cli.config.write_text(cli.config.read_text() + PRICES)
    return cli


def test_history_is_rated_anew(priced: Cli) -> None:
    """By the configuration of now; what each team and model costs since is shown."""
    priced.fill([a_call(0), a_call(1), a_call(2, team="billing"), a_call(200)])

    done = priced("reprice", *WHEN, "--format", "json")

    assert done.code == OK
    assert [(r["team"], r["calls"], r["changed"], r["difference_usd"]) for r in done.rows] == [
        ("billing", 1, 1, DIFFERENCE),
        ("search", 2, 2, "0.000398866"),
    ]
    assert done.rows[0]["after_usd"] == NOW
    assert done.err == "3 calls seen, 3 adjusted: $0.000598299\n"
    [spent] = priced("report", "spend", "--by", "", *WHEN, "--format", "json").rows
    assert spent["cost_usd"] == "0.004302"


def test_a_second_run_changes_nothing(priced: Cli) -> None:
    priced.fill([a_call(0)])
    priced("reprice", *WHEN)

    done = priced("reprice", *WHEN, "--format", "json")

    [row] = done.rows
    assert (row["changed"], row["before_usd"], row["after_usd"]) == (0, NOW, NOW)


def test_a_call_is_shown_with_its_adjustments(priced: Cli) -> None:
    """Beside what it was charged; the cost is what it costs since."""
    call = a_call(0)
    priced.fill([call])
    priced("reprice", *WHEN)

    table = priced("report", "call", call.id)
    detail = priced("report", "call", call.id, "--format", "json").rows

    assert "Adjustments" in table.out
    assert (detail["cost_usd"], detail["adjusted_usd"]) == (NOW, DIFFERENCE)
    assert [(a["attempt"], a["amount_usd"]) for a in detail["adjustments"]] == [(1, DIFFERENCE)]
    assert detail["attempt_rows"][0]["cost_usd"] == "0.001234567"


def test_a_dry_run_says_so_and_writes_nothing(priced: Cli) -> None:
    priced.fill([a_call(0), a_call(1, team="billing")])

    done = priced("reprice", *WHEN, "--dry-run")

    assert "Repriced (dry run)" in done.out
    assert "│ all " in done.out
    assert "2 calls seen, 2 would be adjusted; nothing was written" in done.err
    [spent] = priced("report", "spend", "--by", "", *WHEN, "--format", "json").rows
    assert spent["cost_usd"] == "0.002469134"


def test_filters_narrow_it(priced: Cli) -> None:
    priced.fill([a_call(0), a_call(1, team="billing"), a_call(2, {"upstream": "local"})])

    narrow = ("--team", "search", "--model", "gpt-5-mini", "--upstream", "openai")
    [row] = priced("reprice", *WHEN, *narrow, "--format", "json").rows

    assert (row["team"], row["calls"]) == ("search", 1)


def test_what_is_left_alone_is_told(priced: Cli) -> None:
    """No contract says what this model costs: what its provider stated stays."""
    stated = {"price_source": "provider", "model": "gpt-4o", "model_served": "gpt-4o"}
    priced.fill([a_call(0, stated), a_call(1, {"upstream": "gone"})])

    done = priced("reprice", *WHEN)

    assert done.err.splitlines() == [
        "2 calls seen, 0 adjusted: $0.00",
        "left alone, nothing gives a price: 1 attempts",
        "left alone, the provider stated the cost: 1 attempts",
    ]


def test_a_time_must_be_given_and_make_sense(cli: Cli) -> None:
    assert cli("reprice", "--from", "2026-11-18").code == USAGE
    done = cli("reprice", "--from", "2026-11-18", "--to", "2026-11-18")
    assert (done.code, "is not later than --from" in done.err) == (USAGE, True)


# Prune


def count(cli: Cli) -> int:
    """How many calls there are."""

    async def read() -> int:
        database = Database(cli.url)
        found = await database.fetch(select(calls.c.id))
        await database.close()
        return len(found)

    return asyncio.run(read())


def aged(*days: float) -> list[Any]:
    """Calls of so many days ago."""
    hours = (time.time_ns() // 1000 - STARTED_US) // HOUR_US
    return [a_call(int(hours - day * 24)) for day in days]


def test_old_calls_are_pruned_and_reports_stay(cli: Cli) -> None:
    cli.fill(aged(200, 100, 0))

    done = cli("db", "prune", "--older-than", "90d", "--format", "json")

    assert done.code == OK
    [row] = done.rows
    assert (row["calls"], row["attempts"], row["dry_run"], row["months"]) == (2, 2, False, "")
    assert count(cli) == 1
    [spent] = cli("report", "spend", "--by", "", "--window", "total", "--format", "json").rows
    assert spent["calls"] == 3


def test_a_dry_prune_deletes_nothing(cli: Cli) -> None:
    cli.fill(aged(200, 0))

    done = cli("db", "prune", "--older-than", "90d", "--dry-run")

    assert "dry run: nothing was deleted" in done.out
    assert count(cli) == 2


def test_the_last_day_is_kept_and_told(cli: Cli) -> None:
    cli.fill(aged(3, 0))

    done = cli("db", "prune", "--older-than", "1h")

    assert (done.code, count(cli)) == (OK, 1)
    assert "later than asked: the last day is kept" in done.err


def test_a_span_must_be_given(cli: Cli) -> None:
    assert cli("db", "prune").code == USAGE
    assert cli("db", "prune", "--older-than", "long").code == USAGE
