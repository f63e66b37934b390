"""``kill -9`` of a replica at any instant loses no attempt, doubles none, and leaves no hold behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.soak.plan import Fault, Plan
from bench.soak.soak import soak

pytestmark = pytest.mark.xdist_group("replicas")  # each keeps every processor busy


async def test_kill_minus_nine_again_and_again(database: str, tmp_path: Path) -> None:
    """Every line of the invoice has its one attempt, every total is the sum of its rows."""
    often = Plan(database=database, seed=3, replicas=2, lease_s=1, every_s=0.6)
    plan = replace(often, faults=(Fault.KILL,), kills=5)
    found = await soak(plan, tmp_path, lambda _: None)

    assert found.failures() == []
    assert found.faults[Fault.KILL] >= 5
    assert found.reckoning.attempts > 5
