"""Which windows a call falls under, remembered."""

import tracemalloc

from proxy.core.budgets import Budget, Scope, Window
from proxy.core.call import Key, Principal, Team
from proxy.ledger.cover import Covers, StoredBudget

KEY = Key("key-1", "one", Team("search"))
NOON_US = 1_764_590_400_000_000
QUARTER_US = 900_000_000


def test_clients_that_come_and_go_are_forgotten() -> None:
    """Each connection has a principal of its own, equal to all others of its key: none is kept for long."""
    budget = Budget("team:search:day", Scope.TEAM, "search", 1_000_000_000, Window.DAY)
    covers = Covers([StoredBudget(budget)])
    first = covers.of(Principal(KEY), "gpt-4o", NOON_US)
    tracemalloc.start()

    for number in range(10_000):
        moment_us = NOON_US + number % 2 * QUARTER_US
        assert covers.of(Principal(KEY), "gpt-4o", moment_us).keys == first.keys
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 600_000
