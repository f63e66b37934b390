"""A month of calls rated anew, reconciled and pruned: time, peak memory, and whether it is exact.

``python -m bench.reprice [--url sqlite:///FILE | postgresql://…] [--calls 1000000]`` fills an empty
database through the ledger, changes the prices, and runs the commands as anyone would. What comes out is
compared with sums that were made while the calls were, with fractions and without the price book.
"""

import argparse
import asyncio
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from proxy.core.budgets import EACH, Budget, Scope, Window
from proxy.core.call import AttemptRecord, CallRecord, Key, Outcome, Principal, Team, new_call_id
from proxy.core.money import NANO_PER_USD, usd
from proxy.core.reservation import Settlement
from proxy.core.usage import Usage, UsageSource
from proxy.ledger.base import LedgerOptions
from proxy.ledger.postgres import PostgresLedger
from proxy.ledger.sqlite import SqliteLedger
from proxy.store import migrate
from proxy.store.engine import Database

MONTH_US = 1_790_812_800_000_000  # October 2026
DAY_US = 86_400_000_000
DAYS = 31
AT_ONCE = 2_000
MODELS = ("gpt-5", "gpt-5-mini", "gpt-4o")
# Dollars for a million tokens in and out, as they were charged and as they should have been.
OLD = {"gpt-5": ("1.25", "10"), "gpt-5-mini": ("0.25", "2"), "gpt-4o": ("2.5", "10")}
NEW = OLD | {"gpt-5": ("1.111111", "9.87"), "gpt-5-mini": ("0.2", "2.000001")}
TEAMS = [Principal(Key(f"k{n}", f"key-{n}", Team(f"team-{n}", "acme"))) for n in range(5)]
CONFIGURATION = """
database: {url}
upstreams:
  openai: {{base_url: http://127.0.0.1:9/v1, price_provider: openai}}
prices:
{rules}
"""


@dataclass
class Month:
    """What was made, and what it should come to."""

    due: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    by_day: dict[tuple[int, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0] * 4)
    )
    changed: int = 0


def charge(prices: dict[str, tuple[str, str]], model: str, usage: Usage) -> int:
    """In nano-dollars, with fractions, rounded half to even by Python."""
    into, out = (Fraction(price) * 1_000 for price in prices[model])
    return round(usage.input * into + usage.output * out)


def settlements(count: int, month: Month) -> Iterator[Settlement]:
    """The calls of the month, in the order of time."""
    chance = random.Random(1)
    for n in range(count):
        at_us = MONTH_US + n * DAYS * DAY_US // count
        model, caller = chance.choice(MODELS), chance.choice(TEAMS)
        usage = Usage(input=chance.randrange(10_000), output=chance.randrange(2_000))
        old, new = charge(OLD, model, usage), charge(NEW, model, usage)
        month.due[caller.key.team.name, model] += new
        month.changed += old != new
        day = month.by_day[(at_us - MONTH_US) // DAY_US, model]
        for place, more in enumerate((1, usage.input, usage.output, new)):
            day[place] += more
        yield _settlement(at_us, model, caller, usage, old)


def _settlement(
    at_us: int, model: str, caller: Principal, usage: Usage, cost_nano: int
) -> Settlement:
    attempt = AttemptRecord(
        1, "openai", model, at_us, 900_000, first_byte_us=200_000, status=200, model_served=model,
        upstream_call_id="chatcmpl-1234567890", usage=usage, usage_source=UsageSource.PROVIDER,
        usage_raw='{"prompt_tokens":900,"completion_tokens":100,"total_tokens":1000}',
        cost_nano=cost_nano, price_source="configuration", price_version="rule-1a2b3c4d",
    )  # fmt: skip
    team = caller.key.team
    record = CallRecord(
        new_call_id(at_us * 1000), at_us, team.name, team.organisation, caller.key.id,
        caller.key.name, "", "", "", (), "chat.completions", model, stream=False, status=200,
        outcome=Outcome.COMPLETED, duration_us=900_000, attempts=(attempt,),
    )  # fmt: skip
    return Settlement(record, caller, None, model)


async def fill(database: Database, count: int) -> Month:
    """Settle the calls, as a ledger does."""
    month = Month()
    await migrate.upgrade(database)
    kind = SqliteLedger if database.is_sqlite else PostgresLedger
    ledger = kind(database, LedgerOptions(answer_timeout_s=60, clock_us=lambda: MONTH_US))
    await ledger.start()
    await ledger.sync_budgets(
        [
            Budget("team", Scope.TEAM, EACH, 10**6 * NANO_PER_USD, Window.MONTH),
            Budget("all", Scope.ORGANISATION, "acme", 10**6 * NANO_PER_USD, Window.TOTAL),
        ]
    )
    waiting: list[Settlement] = []
    for settlement in settlements(count, month):
        waiting.append(settlement)
        if len(waiting) == AT_ONCE:
            await asyncio.gather(*map(ledger.settle, waiting))
            waiting.clear()
    await asyncio.gather(*map(ledger.settle, waiting))
    await ledger.stop()
    return month


async def wrong(database: Database, month: Month) -> list[str]:
    """Where the ledger is not what it should be."""
    from proxy.store.reports import Reports, SpendQuery, read_groups  # noqa: PLC0415 - after the bench

    found = []
    page = await Reports(database).spend(SpendQuery(read_groups("team,model")), 1000)
    spent = {tuple(row.group.values()): row.cost_usd for row in page.items}
    if spent != {group: usd(nano) for group, nano in month.due.items()}:
        found.append("spend is not what it should be")
    kind = SqliteLedger if database.is_sqlite else PostgresLedger
    return found + await kind(database, LedgerOptions()).verify()


# Commands, as anyone runs them


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    code: int
    seconds: float
    processor_s: float
    peak_mb: float


def run(config: Path, *arguments: str) -> Ran:
    """One command; its table goes to stderr."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "proxy", *arguments, "--config", str(config)]
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - began
    return Ran(process.returncode, took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def write_export(path: Path, month: Month) -> None:
    """The month as OpenAI's dashboard would export it: usage and costs in one table each."""
    with (
        path.open("w", newline="") as usage,
        path.with_suffix(".costs").open("w", newline="") as costs,
    ):
        used, cost = csv.writer(usage), csv.writer(costs)
        used.writerow(["start_time", "num_model_requests", "model", "input_tokens", "output_tokens", "input_cached_tokens"])  # fmt: skip
        cost.writerow(["start_time", "amount_value", "amount_currency", "line_item"])
        for (day, model), (requests, into, out, nano) in month.by_day.items():
            start = MONTH_US // 1_000_000 + day * 86_400
            used.writerow([start, requests, model, into, out, 0])
            cost.writerow([start, usd(nano), "usd", f"{model}, input"])


def measure(url: str, count: int, folder: Path) -> int:
    """Print how each step went; the number of things that went wrong."""
    config, export = folder / "farebox.yaml", folder / "usage.csv"
    rules = (
        f"  - {{model: {model}, input_per_mtok: {into}, output_per_mtok: {out}}}"
        for model, (into, out) in NEW.items()
    )
    config.write_text(CONFIGURATION.format(url=url, rules="\n".join(rules)))
    database = Database(url)
    began = time.perf_counter()
    month = asyncio.run(fill(database, count))
    print(
        f"{count:,} calls made in {time.perf_counter() - began:.0f} s; {month.changed:,} are to change"
    )
    write_export(export, month)
    costs = str(export.with_suffix(".costs"))
    whole = ("--from", "2026-10-01", "--to", "2026-11-01")
    three_days = ("--from", "2026-10-01", "--to", "2026-10-04", "--dry-run")
    files = ("--provider", "openai", "--file", str(export), "--file", costs)
    steps: list[tuple[int, str, tuple[str, ...]]] = [
        (0, "reprice, three days, dry", ("reprice", *three_days)),
        (1, "reconcile, before", ("reconcile", *files, "--format", "csv")),
        (0, "reprice, the month", ("reprice", *whole)),
        (0, "reprice, again", ("reprice", *whole)),
        (0, "reconcile, after", ("reconcile", *files, "--format", "csv")),
    ]
    problems = [p for step in steps if (p := _step(config, *step))]
    began = time.perf_counter()
    problems += asyncio.run(wrong(Database(url), month))
    problems += (
        [p]
        if (p := _step(config, 0, "db prune, all of it", ("db", "prune", "--older-than", "1d")))
        else []
    )
    problems += asyncio.run(wrong(Database(url), month))
    print(f"checked in {time.perf_counter() - began:.0f} s: {problems or 'exact'}")
    return len(problems)


def _step(config: Path, expected: int, name: str, arguments: tuple[str, ...]) -> str:
    ran = run(config, *arguments)
    print(
        f"{name:<28} {ran.seconds:>7.1f} s  {ran.processor_s:>7.1f} s of processor"
        f"  {ran.peak_mb:>6.0f} MB  exit code {ran.code}"
    )
    return "" if ran.code == expected else f"{name}: exit code {ran.code}, not {expected}"


def main() -> Any:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an empty database; else a file that is deleted")
    parser.add_argument("--calls", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"sqlite:///{folder}/farebox.db"
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} {url.partition(':')[0]}")
        return measure(url, given.calls, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
