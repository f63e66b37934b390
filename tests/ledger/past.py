"""Calls of the past, settled as the data path settles them, and price books to rate them by."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, Principal
from proxy.core.reservation import Settlement
from proxy.core.usage import Usage
from proxy.ledger.reprice import Repricing
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.price_rules import PriceRule
from proxy.store.pricebook import LayeredPriceBook
from tests.ledger.samples import NOON_US, attempt, principal, record
from tests.store.price_samples import data

EVERYTHING = CallFilter()


def prices(**rules: tuple[str, str]) -> LayeredPriceBook:
    """Dollars for a million tokens of input and output, by model (``any`` is all of them)."""
    return LayeredPriceBook(
        [
            PriceRule(
                model="*" if model == "any" else model,
                prices={"input_per_mtok": Decimal(into), "output_per_mtok": Decimal(out)},
            )
            for model, (into, out) in rules.items()
        ],
        data(),
    )


def answered(
    cost_nano: int, *, at_us: int = NOON_US, caller: Principal | None = None, **attempt_fields: Any
) -> CallRecord:
    """A call of 1,000 tokens in and 100 out that was charged so much."""
    usage = attempt_fields.pop("usage", Usage(input=1_000, output=100))
    one = attempt(cost_nano=cost_nano, started_at_us=at_us, usage=usage, **attempt_fields)
    return record(caller or principal(), started_at_us=at_us, attempts=(one,), duration_us=300_000)


def with_attempts(call: CallRecord, *attempts: AttemptRecord) -> CallRecord:
    """The same call with these attempts, numbered."""
    numbered = tuple(replace(a, number=n) for n, a in enumerate(attempts, 1))
    return replace(call, attempts=numbered)


async def settle(ledger: Any, calls: Iterable[CallRecord]) -> None:
    """End calls that were never held, as a spool's replay does."""
    for call in calls:
        await ledger.settle(Settlement(call, call.principal, None, call.model_requested))


async def reprice(
    database: Database, book: LayeredPriceBook, wanted: CallFilter = EVERYTHING, **options: Any
) -> Repricing:
    """Rate history anew."""
    run = Repricing(database, book, options.pop("providers", {}), **options)
    async for _ in run.run(wanted):
        pass
    return run
