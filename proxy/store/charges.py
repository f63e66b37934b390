"""Charges of calls in the order of time, for exports that sum them: in flat memory."""

from collections.abc import AsyncIterator, Sequence

import msgspec
from sqlalchemy import RowMapping, Select, select

from proxy.core.focus import Charged, Meter
from proxy.core.pricing import ChargeLine
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.schema import adjustments, attempts, calls

_PAGE = 500
_DAY_US = 86_400 * 1_000_000
_lines = msgspec.json.Decoder(tuple[ChargeLine, ...]).decode


async def charges(
    database: Database, wanted: CallFilter
) -> AsyncIterator[tuple[int, list[Charged]]]:
    """Every charge and correction, page by page of calls: how many calls, and their charges.

    A correction counts on the day of its call, as in reports. Raises LedgerError.
    """
    after = ""
    while True:
        page = await database.fetch(_calls_after(wanted, after))
        if page:
            after = page[-1]["id"]
            yield len(page), await _charged(database, page)
        if len(page) < _PAGE:
            return


async def _charged(database: Database, page: Sequence[RowMapping]) -> list[Charged]:
    by_id = {row["id"]: row for row in page}
    first, last = page[0]["id"], page[-1]["id"]
    found: dict[str, list[Charged]] = {}
    for row in await database.fetch(_attempts_between(first, last)):
        if (call := by_id.get(row["call_id"])) is not None:
            charged = _attempt(call, row)
            if charged is not None:
                found.setdefault(row["call_id"], []).append(charged)
    for row in await database.fetch(_adjustments_between(first, last)):
        if (call := by_id.get(row["call_id"])) is not None:
            meter = _meter(call, call["upstream"], call["model_served"] or call["model"], row)
            amount = row["amount_nano"]
            found.setdefault(row["call_id"], []).append(
                Charged(meter, amount, None, (), correction=True)
            )
    return [charged for row in page for charged in found.get(row["id"], ())]


def _attempt(call: RowMapping, row: RowMapping) -> Charged | None:
    """The charge of an attempt; None where nothing is charged and nothing was consumed."""
    lines = _lines(row["charge"]) if row["charge"] else ()
    if not row["cost_nano"] and not lines:
        return None
    meter = _meter(call, row["upstream"], row["model_served"] or row["model"], row)
    return Charged(meter, row["cost_nano"], row["list_nano"], lines)


def _meter(call: RowMapping, upstream: str, model: str, priced: RowMapping) -> Meter:
    return Meter(
        day=call["started_at_us"] // _DAY_US,
        organisation=call["organisation"],
        team=call["team"],
        key=call["key"],
        workflow=call["workflow"],
        upstream=upstream,
        model=model,
        endpoint=call["endpoint"],
        what="",
        price_nano="",
        price_source=priced["price_source"],
    )


def _calls_after(wanted: CallFilter, after: str) -> Select[tuple[object, ...]]:
    """The next calls after an id, in the order of time."""
    columns = (
        calls.c[name]
        for name in (
            "id", "started_at_us", "organisation", "team", "key", "workflow", "upstream",
            "model", "model_served", "endpoint",
        )
    )  # fmt: skip
    query = select(*columns).where(*wanted.conditions(), calls.c.id > after)
    return query.order_by(calls.c.id).limit(_PAGE)


def _attempts_between(first: str, last: str) -> Select[tuple[object, ...]]:
    """The attempts of the calls between two ids."""
    query = select(attempts).where(attempts.c.call_id.between(first, last))
    return query.order_by(attempts.c.call_id, attempts.c.number)


def _adjustments_between(first: str, last: str) -> Select[tuple[object, ...]]:
    """The adjustments of the calls between two ids."""
    return select(adjustments).where(adjustments.c.call_id.between(first, last))
