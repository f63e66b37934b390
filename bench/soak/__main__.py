"""``make soak``: hurt everything at random for a time, then compare the ledger with the invoice.

Starts a database, replicas, the simulated provider and clients on free ports of the loopback
interface, and stops them. Equal seeds make equal choices. Exits with 1 where the books differ.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.soak import outage
from bench.soak.fits import fits
from bench.soak.plan import ALL_FAULTS, Fault, Plan
from bench.soak.soak import Outcome, soak
from bench.soak.table import table


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("what", nargs="?", default="soak", choices=("soak", "fits", "kills", "outage"))
    add("--seconds", type=float, default=60, help="of load and faults; of outage (60)")
    add("--seed", type=int, help="of all choices (a new one, which is printed)")
    add("--database", choices=("sqlite", "postgres"), default="postgres")
    add("--replicas", type=int, default=3)
    add("--clients", type=int, default=24, help="calls at once (24)")
    add("--every", type=float, default=2, help="seconds between two faults, on average (2)")
    add("--calls", type=int, default=1000, help="fits: how many at once (1000)")
    add("--fit", type=int, default=100, help="fits: and how many of them the budget fits (100)")
    add("--kills", type=int, default=50, help="kills: how many (50)")
    add("--unavailable", choices=("reject", "allow"), default="reject")
    add("--lost", choices=("charge_estimate", "charge_hold"), default="charge_estimate")
    add("--keep", type=Path, help="work in this folder, and leave it")
    add("--quiet", action="store_true", help="say only the table")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    only_kills = options.what == "kills"
    return Plan(
        seconds=options.seconds,
        seed=options.seed if options.seed is not None else random.randrange(10_000),
        database=options.database,
        replicas=options.replicas,
        clients=options.clients,
        every_s=options.every,
        unavailable=options.unavailable,
        lost=options.lost,
        upstream_s=10 if options.what == "outage" else 6,
        faults=(Fault.KILL,) if only_kills else ALL_FAULTS,
        kills=options.kills if only_kills else 0,
    )


async def run(options: argparse.Namespace, plan: Plan, folder: Path) -> tuple[Outcome, list[str]]:
    """What came of it, and what is wrong with that."""
    say: Callable[[str], None] = (lambda _: None) if options.quiet else _to_stderr
    say(f"seed {plan.seed}")
    if options.what == "fits":
        found = await fits(plan, folder, options.calls, options.fit)
        say(f"{dict(found.answers)}: each held {found.hold_nano:,} and cost {found.cost_nano:,}")
        return found.outcome, found.failures()
    if options.what == "outage":
        outcome = await outage.outage(plan, folder, options.seconds, say)
        return outcome, outage.failures(outcome)
    outcome = await soak(plan, folder, say)
    return outcome, outcome.failures()


def main() -> int:
    """The exit code."""
    options = parser().parse_args()
    plan = plan_of(options)
    with tempfile.TemporaryDirectory(prefix="farebox-soak-") as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        outcome, failures = asyncio.run(run(options, plan, folder.resolve()))
    print(table(outcome))
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
