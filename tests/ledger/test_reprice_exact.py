"""A reprice is exact and is done once, whatever the history: checked against sums of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.budgets import EACH, Scope, Window
from proxy.core.call import CallRecord
from proxy.core.usage import Usage, UsageSource
from proxy.ledger.base import LedgerOptions
from proxy.ledger.sqlite import SqliteLedger
from proxy.store.engine import Database
from tests.ledger.past import answered, prices, reprice, settle
from tests.ledger.samples import DAY_US, NOON_US, budget, principal

Rule = tuple[str, str]  # dollars for a million tokens of input, of output

_USAGE = st.builds(
    Usage,
    input=st.integers(0, 10**6),
    cached_input=st.integers(0, 10**5),
    output=st.integers(0, 10**5),
    reasoning=st.integers(0, 10**4),
)
_PRICE = st.decimals(0, 100, places=6).map(str)
_RULES = st.fixed_dictionaries(
    {}, optional={name: st.tuples(_PRICE, _PRICE) for name in ("gpt", "claude")}
)
_CALL = st.fixed_dictionaries(
    {
        "usage": _USAGE,
        "model_served": st.sampled_from(["gpt", "claude", "nobody-s"]),
        "cost_nano": st.integers(0, 10**9),
        "price_source": st.sampled_from(["pricebook", "unpriced", "provider"]),
        "usage_source": st.sampled_from(list(UsageSource)),
        "at_us": st.integers(NOON_US - 3 * DAY_US, NOON_US),
        "caller": st.sampled_from(["ann", "bob", ""]).map(lambda user: principal(user=user)),
    }
)
BUDGETS = [
    budget(10**9, window=Window.TOTAL),
    budget(10**8, id="u", scope=Scope.USER, subject=EACH, window=Window.DAY, timezone="Asia/Kolkata"),
    budget(10**8, id="h", window=Window.HOUR),
]  # fmt: skip


def due(call: CallRecord, first: dict[str, Rule], second: dict[str, Rule]) -> int:
    """What the call is to cost, worked out anew: with fractions, and rounded by Python.

    A call keeps a price that it once had; but where the provider stated the cost and no contract
    says otherwise any more, that counts again.
    """
    [attempt] = call.attempts
    book = second if attempt.price_source == "provider" else first | second
    rule = book.get(attempt.model_served)
    if rule is None:
        return attempt.cost_nano
    if attempt.usage_source not in (UsageSource.PROVIDER, UsageSource.COUNTED):
        return attempt.cost_nano
    into, out = (Fraction(price) * 1_000 for price in rule)
    used = attempt.usage
    return round((used.input + used.cached_input) * into + (used.output + used.reasoning) * out)


@settings(max_examples=25, deadline=None)
@given(st.lists(_CALL, min_size=1, max_size=12), _RULES, _RULES)
def test_a_reprice_is_exact_and_is_done_once(
    migrated: Path,
    history: list[dict[str, Any]],
    first: dict[str, Rule],
    second: dict[str, Rule],
) -> None:
    """Every call costs what the last book that prices it says; all totals are the sums of their rows."""

    async def check(ledger: SqliteLedger) -> None:
        calls = [answered(**call) for call in history]
        await ledger.sync_budgets(BUDGETS)
        await settle(ledger, calls)

        await reprice(ledger.database, prices(**first), page=5)
        run = await reprice(ledger.database, prices(**second), page=5)

        shown = [await ledger.call(call.id) for call in calls]
        now = [call.cost_nano + call.adjusted_nano for call in shown if call]
        expected = [due(call, first, second) for call in calls]
        assert expected == now
        total = run.tally.total
        assert sum(expected) == total.before_nano + total.difference_nano
        again = await reprice(ledger.database, prices(**second))
        assert again.tally.total.changed == 0
        assert await ledger.verify() == []

    _with_ledger(migrated, check)


def _with_ledger(migrated: Path, check: Callable[[SqliteLedger], Any]) -> None:
    async def run(file: Path) -> None:
        database = Database(f"sqlite:///{file}")
        ledger = SqliteLedger(database, LedgerOptions(clock_us=lambda: NOON_US))
        await ledger.start()
        try:
            await check(ledger)
        finally:
            await ledger.stop()
            await database.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(shutil.copy(migrated, folder))))
