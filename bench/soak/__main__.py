"""``make soak``: hurt everything at random for a time, then compare the ledger with the invoice.

Starts a database, replicas, the simulated provider and clients on free ports of the loopback
interface, and stops them. Equal seeds make equal choices. Exits with 1 where the books differ.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from bench.soak.plan import Plan
from bench.soak.soak import soak
from bench.soak.table import table


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--seconds", type=float, default=60, help="of load and faults (60)")
    add("--seed", type=int, help="of all choices (a new one, which is printed)")
    add("--database", choices=("sqlite", "postgres"), default="postgres")
    add("--replicas", type=int, default=3)
    add("--clients", type=int, default=12, help="calls at once (12)")
    add("--every", type=float, default=1.5, help="seconds between two faults, on average (1.5)")
    add("--unavailable", choices=("reject", "allow"), default="reject")
    add("--lost", choices=("charge_estimate", "charge_hold"), default="charge_estimate")
    add("--keep", type=Path, help="work in this folder, and leave it")
    add("--quiet", action="store_true", help="say only the table")
    return made


def main() -> int:
    """The exit code."""
    options = parser().parse_args()
    plan = Plan(
        seconds=options.seconds,
        seed=options.seed if options.seed is not None else random.randrange(10_000),
        database=options.database,
        replicas=options.replicas,
        clients=options.clients,
        every_s=options.every,
        unavailable=options.unavailable,
        lost=options.lost,
    )
    say = (lambda _: None) if options.quiet else _to_stderr
    say(f"seed {plan.seed}")
    with tempfile.TemporaryDirectory(prefix="farebox-soak-") as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(soak(plan, folder.resolve(), say))
    print(table(outcome))
    failures = outcome.failures()
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
