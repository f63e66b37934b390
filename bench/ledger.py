"""What the ledger alone costs: processor time, latency and transactions of a hold and its settlement.

``python -m bench.ledger [--url sqlite:///FILE | postgresql://… | postgres | memory] [--durability full]
[--seconds N]`` prints one line for each number of calls at once. ``postgres`` starts a server of its
own, that has each commit on disk before it answers.
"""

import argparse
import asyncio
import contextlib
import gc
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import uvloop
from msgspec.structs import replace

from proxy.core.budgets import Budget, Scope, Window
from proxy.core.call import AttemptRecord, CallRecord, Key, Outcome, Principal, Team, new_call_id
from proxy.core.money import NANO_PER_USD
from proxy.core.pricing import ChargeLine
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.core.usage import Usage, UsageSource
from proxy.ledger.base import LedgerOptions
from proxy.ledger.memory import MemoryLedger
from proxy.ledger.postgres import PostgresLedger
from proxy.ledger.sqlite import SqliteLedger
from proxy.store import migrate
from proxy.store.engine import Database
from tests.postgres import new_server

CALLER = Principal(Key("k1", "search-prod", Team("search", "acme")), user="ann")
USAGE = Usage(input=900, output=100)
CHARGE = (ChargeLine("input", 900, "250"), ChargeLine("output", 100, "2000"))


def call(*attempts: AttemptRecord) -> CallRecord:
    """A call as the data path makes one."""
    return CallRecord(
        id=new_call_id(),
        started_at_us=time.time_ns() // 1000,
        team="search",
        organisation="acme",
        key_id="k1",
        key="search-prod",
        user="ann",
        workflow="",
        run="",
        tags=(),
        endpoint="chat.completions",
        model_requested="gpt-5-mini",
        stream=False,
        status=200,
        outcome=Outcome.COMPLETED,
        attempts=attempts,
    )


def attempt(**values: Any) -> AttemptRecord:
    """A request to an upstream."""
    return AttemptRecord(1, "openai", "gpt-5-mini", time.time_ns() // 1000, 0, **values)


async def one_call(ledger: Any, latencies: tuple[list[float], list[float]]) -> None:
    """Hold, and settle in a task of its own, as the data path does: the next call comes meanwhile."""
    began = time.perf_counter()
    asked = HoldRequest(CALLER, call(attempt()), 2_000_000, 450_000, "gpt-5-mini")
    hold = await ledger.reserve(asked)
    assert isinstance(hold, Hold)  # noqa: S101 - the budget is large
    latencies[0].append(time.perf_counter() - began)
    ended = attempt(
        status=200,
        model_served="gpt-5-mini-2026-08-07",
        upstream_call_id="chatcmpl-1234567890",
        usage=USAGE,
        usage_source=UsageSource.PROVIDER,
        usage_raw='{"prompt_tokens":900,"completion_tokens":100,"total_tokens":1000}',
        cost_nano=425_000,
        charge=CHARGE,
        price_source="pricebook",
        price_version="2026-11-01",
    )
    settlement = Settlement(replace(asked.record, attempts=(ended,)), CALLER, hold, "gpt-5-mini")
    await settle_beside(ledger, settlement, latencies[1])


async def settle_beside(ledger: Any, settlement: Settlement, latencies: list[float]) -> None:
    """Have it settled, but not so many at a time that they pile up."""

    async def settle() -> None:
        began = time.perf_counter()
        await ledger.settle(settlement)
        latencies.append(time.perf_counter() - began)

    task = asyncio.get_running_loop().create_task(settle())
    _settling.add(task)
    task.add_done_callback(_settling.discard)
    if len(_settling) > SETTLING_AT_ONCE:
        await task


SETTLING_AT_ONCE = 1_000
_settling: set[asyncio.Task[None]] = set()


async def measure(ledger: Any, at_once: int, seconds: float) -> str:
    """So many calls at once for a time."""
    latencies: tuple[list[float], list[float]] = ([], [])
    stop_at = time.perf_counter() + seconds

    async def work() -> None:
        while time.perf_counter() < stop_at:
            await one_call(ledger, latencies)

    transactions = ledger.stats.transactions
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    await asyncio.gather(*_settling)
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
    calls = len(latencies[0])
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / calls
    each = (ledger.stats.transactions - transactions) / calls
    return (
        f"{at_once:>7}  {calls / took:>8.0f}  {1e6 * cpu:>8.1f}  {each:>8.3f}"
        f"  {_shown(latencies[0])}  {_shown(latencies[1])}"
    )


def _shown(latencies: list[float]) -> str:
    ordered = sorted(latencies)
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    return f"{1e3 * p50:>8.2f} {1e3 * p99:>8.2f}"


async def main(url: str, durability: str, seconds: float, at_once: list[int]) -> None:
    """Print the table."""
    options = LedgerOptions(durability=durability, answer_timeout_s=10)
    ledger: Any = MemoryLedger(options=options)
    if url != "memory":
        database = Database(url)
        await migrate.upgrade(database)
        kind = SqliteLedger if database.is_sqlite else PostgresLedger
        ledger = kind(database, options)
    await ledger.start()
    limit = 1_000_000 * NANO_PER_USD
    await ledger.sync_budgets(
        [
            Budget("team", Scope.TEAM, "search", limit, Window.MONTH),
            Budget("day", Scope.TEAM, "search", limit, Window.DAY),
        ]
    )
    gc.freeze()  # as the server does, so that the collector leaves alone what was imported
    print(f"{url.split(':', maxsplit=1)[0]}, {durability}: two budgets over each call")
    print("at once   calls/s   µs cpu   txn/call  hold p50/p99 ms  settle p50/p99 ms")
    for number in at_once:
        print(await measure(ledger, number, seconds), flush=True)
    if problems := await ledger.verify():
        raise SystemExit("\n".join(problems))
    await ledger.stop()


@contextlib.contextmanager
def given(url: str) -> Iterator[str]:
    """The address of what is to be measured, started where that is needed."""
    if url == "postgres":
        server = new_server(durable=True)
        try:
            yield f"{server.url}/postgres"
        finally:
            server.stop()
            shutil.rmtree(server.base, ignore_errors=True)
    elif url:
        yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/bench.db"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="")
    parser.add_argument("--durability", default="normal", choices=["normal", "full"])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 64, 1000])
    chosen = parser.parse_args()
    with given(chosen.url) as where:
        uvloop.run(main(where, chosen.durability, chosen.seconds, chosen.at_once))
