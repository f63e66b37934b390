"""Several processes on one database: exact together, and none of them can take a call along when it dies."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.budgets import EACH, Scope
from proxy.core.call import Outcome
from proxy.ledger.base import now_us
from tests.ledger.homes import Home
from tests.ledger.samples import DAY_US, budget
from tests.migrated import with_tables

ROOT = Path(__file__).parents[2]
CHILD = "tests.ledger.child"


@pytest.fixture(params=["sqlite", "postgres"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    """A migrated database that other processes can open too."""
    async with with_tables(request, tmp_path) as url:
        home = Home(url)
        yield home
        await home.close()


async def start(what: str, url: str | None, *numbers: int) -> Process:
    """A process that is ready, and waits for a line."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", CHILD, what, str(url), *map(str, numbers),
        cwd=ROOT, stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    assert await next_word(child) == ["ready"]
    return child


async def next_word(child: Process) -> list[str]:
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().split()


def go(child: Process) -> None:
    """Give it its line."""
    assert child.stdin is not None
    child.stdin.write(b"\n")


async def end(child: Process) -> None:
    """Let it stop by itself."""
    go(child)
    assert child.stdin is not None
    child.stdin.close()
    assert await child.wait() == 0


async def test_three_processes_admit_exactly_what_fits(shared: Home) -> None:
    """300 calls at once at a budget for 100; the limit holds at every commit in between."""
    ledger = await shared.open()
    await ledger.sync_budgets([budget(10_000)])
    children = await asyncio.gather(*(start("fill", shared.url, 100, 100) for _ in range(3)))
    watched: list[int] = []

    async def watch() -> None:
        while True:
            (view,) = await ledger.budgets()
            watched.append(view.windows[0].spent_nano + view.windows[0].held_nano)

    watching = asyncio.ensure_future(watch())
    for child in children:
        go(child)
    words = await asyncio.gather(*map(next_word, children))
    watching.cancel()
    await asyncio.wait((watching,))

    assert sum(int(number) for _, number in words) == 100
    assert max(watched) <= 10_000
    assert await ledger.verify() == []
    await asyncio.gather(*map(end, children))
    assert await ledger.sweep() == 100
    assert await ledger.verify() == []


async def test_kill_minus_nine_loses_no_call_and_doubles_none(shared: Home) -> None:
    """What was said to be settled is; what was held is settled or lost; all once, and it adds up."""
    ledger = await shared.open()
    users = budget(10**9, EACH, id="users", scope=Scope.USER)
    await ledger.sync_budgets([budget(10**9), users])
    said: list[list[str]] = []
    for seed in range(2):
        children = await asyncio.gather(*(start("churn", shared.url, seed + n) for n in (0, 100)))
        for child in children:
            go(child)
        for child in children:
            said += [await next_word(child) for _ in range(150)]
            child.kill()
        for child in children:
            assert child.stdout is not None
            said += [line.split() for line in (await child.stdout.read()).decode().splitlines()]
            await child.wait()

    while await ledger.sweep(now_us() + DAY_US):
        pass

    assert await ledger.verify() == []
    await _all_there(ledger, said)


async def _all_there(ledger: Any, said: list[list[str]]) -> None:
    settled = {words[1]: int(words[2]) for words in said if words[0] == "settled" and words[2:]}
    held = {words[1] for words in said if words[0] == "held" and words[1:]}
    assert len(settled) > 100
    for call_id in held | set(settled):
        record = await ledger.call(call_id)
        assert record is not None
        assert len(record.attempts) == 1
        if call_id in settled:
            assert (record.outcome, record.cost_nano) == (Outcome.COMPLETED, settled[call_id])
        else:
            assert record.outcome in {Outcome.COMPLETED, Outcome.LOST}


async def test_processes_that_start_together_on_a_new_database(tmp_path: Path) -> None:
    """Each wants to migrate it, and to be the one that makes the file."""
    url = f"sqlite:///{tmp_path}/new/farebox.db"

    children = await asyncio.gather(*(start("fill", url, 5, 10) for _ in range(3)))

    for child in children:
        go(child)
        assert await next_word(child) == ["admitted", "5"]
    await asyncio.gather(*map(end, children))
