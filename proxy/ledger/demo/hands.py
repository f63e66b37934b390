"""Writes the sheets of a plan: in several processes where there are many.

Each process writes what it made: to hand the rows over to another one would cost as much as making them.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Lock

from proxy.ledger.demo.bulk import Bulk
from proxy.ledger.demo.making import Hour, Maker, Making
from proxy.ledger.demo.totals import Sheet
from proxy.store.engine import Database

_ALONE = 100_000  # so few are made sooner than a second process starts
_MOST_PROCESSES = 4


async def write(database: Database, making: Making) -> AsyncIterator[int]:
    """All of the plan; how many calls each sheet had, as it is committed. Raises LedgerError."""
    if making.plan.calls > _ALONE:
        async for count in _together(database, making):
            yield count
        return
    maker = Maker(making)
    with _uncollected():
        async with Bulk(database) as bulk:
            for stretch in making.plan.stretches():
                sheet = maker.sheet(stretch)
                await bulk.write(sheet)
                yield len(sheet.calls)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Rows make no cycles, and looking for them takes half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# Several processes


async def _together(database: Database, making: Making) -> AsyncIterator[int]:
    loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    processes = max(2, min(os.cpu_count() or 1, _MOST_PROCESSES))
    turn = context.Lock() if database.is_sqlite else None
    url = database.url.render_as_string(hide_password=False)
    with ProcessPoolExecutor(processes, context, _start, (making, url, turn)) as pool:
        waiting: deque[asyncio.Future[int]] = deque()
        for stretch in making.plan.stretches():
            waiting.append(loop.run_in_executor(pool, _make_and_write, stretch))
            if len(waiting) > processes:  # no more at once: one that fails is heard soon
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()


class _Hand:
    """One of the processes. SQLite has one writer at a time, and who waits for it there sleeps too long."""

    def __init__(self, making: Making, url: str, turn: Lock | None) -> None:
        self._maker = Maker(making)
        self._url = url
        self._turn = turn

    def work(self, stretch: list[Hour]) -> int:
        sheet = self._maker.sheet(stretch)
        with self._turn or contextlib.nullcontext():
            asyncio.run(_write(self._url, sheet))
        return len(sheet.calls)


async def _write(url: str, sheet: Sheet) -> None:
    database = Database(url)
    try:
        async with Bulk(database) as bulk:
            await bulk.write(sheet)
    finally:
        await database.close()


_hand: list[_Hand] = []


def _start(making: Making, url: str, turn: Lock | None) -> None:
    gc.disable()
    _hand.append(_Hand(making, url, turn))


def _make_and_write(stretch: list[Hour]) -> int:
    return _hand[0].work(stretch)
