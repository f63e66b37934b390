"""Several replicas on one database: budgets are exact together, and an outage of it costs nobody a call."""

from collections import Counter
from pathlib import Path

import pytest

from bench.soak.fits import fits
from bench.soak.outage import failures, outage
from bench.soak.plan import Plan

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
