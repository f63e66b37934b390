"""Sheets of made-up calls. A sheet follows from the plan alone: it does not matter which process makes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.ledger.cover import Covers, StoredBudget
from proxy.ledger.demo import tempo
from proxy.ledger.demo.calls import Traffic, traffic
from proxy.ledger.demo.forms import Forms
from proxy.ledger.demo.totals import Sheet
from proxy.store.pricebook import layered_book

_HOUR_US = 3_600_000_000
_SHEET = 20_000  # calls in one transaction

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


class Maker:
    """Makes the sheets of a plan, each in any order, in any process."""

    def __init__(self, making: Making) -> None:
        plan, book = making.plan, layered_book(making.prices)
        self._covers = Covers(making.budgets)
        self._forms = Forms()
        self._traffic: Traffic = traffic(
            plan.start_us, plan.now_us, plan.seed, book, making.key_ids
        )

    def sheet(self, stretch: list[Hour]) -> Sheet:
        """What happened in some hours."""
        sheet = Sheet()
        for hour in stretch:
            sheet.add_hour(self._traffic.hour(*hour), self._forms, self._covers)
        return sheet
