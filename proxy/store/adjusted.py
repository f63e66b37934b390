"""Adjustments as they count in queries over calls: what is added to a charge, and what has a price now.

An adjusting entry never edits the row it corrects; whoever adds calls up adds these up with them.
"""

from sqlalchemy import BigInteger, ColumnElement, cast, exists, func, select

from proxy.core.rating import UNPRICED
from proxy.store.schema import adjustments, attempts, calls

REPRICE = "reprice"  # the reason of an adjustment: the call was rated anew


def adjusted() -> ColumnElement[int]:
    """What the adjustments of a row of ``calls`` add to its charge, in nano-dollars."""
    total = func.coalesce(func.sum(adjustments.c.amount_nano), 0)
    return (
        select(cast(total, BigInteger))
        .where(adjustments.c.call_id == calls.c.id)
        .correlate(calls)
        .scalar_subquery()
    )


def still_unpriced() -> ColumnElement[bool]:
    """Whether a row of ``calls`` has an attempt that nothing ever gave a price for, not even later."""
    priced_since = exists().where(
        adjustments.c.call_id == attempts.c.call_id,
        adjustments.c.attempt == attempts.c.number,
        adjustments.c.reason == REPRICE,
    )
    return (
        exists()
        .where(
            attempts.c.call_id == calls.c.id,
            attempts.c.price_source == UNPRICED,
            ~priced_since.correlate(attempts),
        )
        .correlate(calls)
    )
