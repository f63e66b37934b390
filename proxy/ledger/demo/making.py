"""Sheets of made-up calls, one after the other; many of them are made beside the writing.

A sheet follows from the plan alone, so that it does not matter which process makes it.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from proxy.ledger.cover import Covers, StoredBudget
from proxy.ledger.demo import tempo
from proxy.ledger.demo.calls import Traffic, traffic
from proxy.ledger.demo.totals import Sheet
from proxy.store.pricebook import layered_book

_HOUR_US = 3_600_000_000
_SHEET = 20_000  # calls in one transaction
_ALONE = 100_000  # so few are made sooner than a second process starts
_MOST_PROCESSES = 4

Hour = tuple[int, int, int]  # from, calls, until


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """How much to make up, until when."""

    days: int
    calls: int
    seed: int
    now_us: int
    append: bool = False

    @property
    def start_us(self) -> int:
        """The hour in which it begins."""
        return self.now_us - self.now_us % _HOUR_US - (self.days * 24 - 1) * _HOUR_US

    def stretches(self) -> Iterator[list[Hour]]:
        """Hours that make up a sheet each."""
        counts = tempo.hourly_counts(self.calls, self.start_us // 1_000_000, self.days * 24)
        stretch: list[Hour] = []
        for n, count in enumerate(counts):
            start_us = self.start_us + n * _HOUR_US
            until_us = max(start_us + 1, min(start_us + _HOUR_US, self.now_us))
            stretch.append((start_us, count, until_us))
            if sum(hour[1] for hour in stretch) >= _SHEET:
                yield stretch
                stretch = []
        yield stretch


@dataclass(frozen=True, slots=True)
class Making:
    """All that a sheet follows from."""

    plan: DemoPlan
    prices: tuple[Any, ...]  # of the configuration
    key_ids: Mapping[str, str]
    budgets: tuple[StoredBudget, ...]  # there already: what they cover is counted on them


async def sheets(making: Making) -> AsyncIterator[Sheet]:
    """All sheets of the plan, in the order of time."""
    with _uncollected():
        if making.plan.calls <= _ALONE:
            maker = _Maker(making)
            for stretch in making.plan.stretches():
                yield maker.sheet(stretch)
            return
        async for sheet in _beside(making):
            yield sheet


async def _beside(making: Making) -> AsyncIterator[Sheet]:
    loop = asyncio.get_running_loop()
    processes = max(1, min(os.cpu_count() or 1, _MOST_PROCESSES))
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _start, (making,)
    ) as pool:
        waiting: deque[asyncio.Future[Sheet]] = deque()
        for stretch in making.plan.stretches():
            waiting.append(loop.run_in_executor(pool, _make, stretch))
            if len(waiting) > processes:  # no more at once: memory stays the same
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()


class _Maker:
    def __init__(self, making: Making) -> None:
        plan, book = making.plan, layered_book(making.prices)
        self._covers = Covers(making.budgets)
        self._traffic: Traffic = traffic(
            plan.start_us, plan.now_us, plan.seed, book, making.key_ids
        )

    def sheet(self, stretch: list[Hour]) -> Sheet:
        sheet = Sheet()
        for hour in stretch:
            sheet.add(self._traffic.hour(*hour), self._covers)
        return sheet


# In the other processes

_maker: list[_Maker] = []


def _start(making: Making) -> None:
    gc.disable()  # rows make no cycles, and looking for them takes half of the time
    _maker.append(_Maker(making))


def _make(stretch: list[Hour]) -> Sheet:
    return _maker[0].sheet(stretch)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
