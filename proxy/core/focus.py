"""Charges in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification. Pure.

A row is a day's sum of one meter (input tokens of a model at a price …) of one team, key and workflow.
Amounts add up to the ledger's, to the nano-dollar: a charge is rounded once, as a whole, so what
its lines come to before rounding is made whole in the largest of them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

import msgspec

from proxy.core.money import usd
from proxy.core.pricing import ChargeLine

# The specification's mandatory columns, and those others that there is something to say in; in the
# order of the alphabet, as the specification has them. Columns of our own begin with x_, as it asks.
COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription",
    "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId",
    "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_Calls", "x_Endpoint", "x_Key",
    "x_PriceSource", "x_Workflow",
)  # fmt: skip

_UNITS = {
    "images": "Images",
    "milliseconds": "Milliseconds",
    "characters": "Characters",
    "searches": "Searches",
    "file_searches": "Searches",
    "pages": "Pages",
    "containers": "Sessions",
    "request": "Requests",
}
_TOKENS = "Tokens"
_WHOLE = "charge"  # what has no lines: a lost call's estimate, what the provider stated
_CORRECTION = "correction"

Row = dict[str, str | None]


class Meter(NamedTuple):
    """What is summed into one row."""

    day: int  # days since the epoch, UTC
    organisation: str
    team: str
    key: str
    workflow: str
    upstream: str
    model: str
    endpoint: str
    what: str
    price_nano: str  # "" where there is none
    price_source: str


class Charged(NamedTuple):
    """One attempt's charge, or a correction of a call's."""

    meter: Meter  # without what and price
    cost_nano: int
    list_nano: int | None
    lines: tuple[ChargeLine, ...]
    correction: bool = False


class Sum(msgspec.Struct):
    """A row in the making."""

    quantity: int = 0
    cost_nano: int = 0
    list_nano: int = 0
    calls: int = 0


class FocusDays:
    """Sums charges by meter and day. Charges come in the order of days; memory is that of one day."""

    def __init__(self, account: str = "farebox") -> None:
        self._account = account
        self._sums: dict[Meter, Sum] = {}
        self._day = -1

    def add(self, charged: Charged) -> Iterator[Row]:
        """Take a charge; the rows of the days before it, once they are over."""
        if charged.meter.day != self._day:
            yield from self.finish()
            self._day = charged.meter.day
        for meter, quantity, cost_nano, list_nano in _shares(charged):
            found = self._sums.setdefault(meter, Sum())
            found.quantity += quantity
            found.cost_nano += cost_nano
            found.list_nano += list_nano
            found.calls += 1

    def finish(self) -> Iterator[Row]:
        """The rows of the last day."""
        for meter in sorted(self._sums):
            yield _row(meter, self._sums[meter], self._account)
        self._sums = {}


def _shares(charged: Charged) -> Iterable[tuple[Meter, int, int, int]]:
    """What of a charge belongs to each meter: quantity, cost and cost at the list price."""
    base = charged.meter
    if charged.correction:
        return [(base._replace(what=_CORRECTION), 0, charged.cost_nano, charged.cost_nano)]
    lines = charged.lines
    listed = charged.cost_nano if charged.list_nano is None else charged.list_nano
    exact = [_exact(line) for line in lines]
    if not lines or not sum(exact):
        return [(base._replace(what=_WHOLE), 0, charged.cost_nano, listed)]
    costs, lists = _divided(charged.cost_nano, exact), _divided(listed, exact)
    return [
        (
            base._replace(
                what=line.what, price_nano=line.price_nano, model=line.model or base.model
            ),
            line.quantity,
            cost,
            at_list,
        )
        for line, cost, at_list in zip(lines, costs, lists, strict=True)
    ]


def _exact(line: ChargeLine) -> Fraction:
    return line.quantity * Fraction(line.price_nano)


def _divided(total: int, by: list[Fraction]) -> list[int]:
    """A whole amount in whole parts in these proportions; the largest takes what is left over."""
    whole = sum(by)
    parts = [int(total * part / whole) for part in by]
    largest = max(range(len(by)), key=by.__getitem__)
    parts[largest] += total - sum(parts)
    return parts


def _row(meter: Meter, found: Sum, account: str) -> Row:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=meter.day)
    month = day.replace(day=1)
    is_correction, is_whole = meter.what == _CORRECTION, meter.what == _WHOLE
    unit = None if is_correction or is_whole else _UNITS.get(meter.what, _TOKENS)
    price = usd_of(Fraction(meter.price_nano)) if meter.price_nano else None
    quantity = str(found.quantity) if unit else None
    cost = usd(found.cost_nano)
    values: Row = {
        "BilledCost": cost,
        "BillingAccountId": account,
        "BillingAccountName": account,
        "BillingAccountType": "Ledger",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time((month + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if is_correction else None,
        "ChargeDescription": _description(meter, unit),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(day),
        "ChargePeriodEnd": _time(day + timedelta(days=1)),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "EffectiveCost": cost,
        "InvoiceIssuerName": meter.upstream,
        "ListCost": usd(found.list_nano),
        "ListUnitPrice": _list_price(price, found) if unit else None,
        "PricingCategory": None if is_correction else "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": meter.upstream,
        "PublisherName": meter.upstream,
        "ResourceId": meter.model or None,
        "ResourceName": meter.model or None,
        "ResourceType": "Model" if meter.model else None,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": meter.upstream or "Farebox",
        "ServiceSubcategory": "Generative AI",
        "SkuId": f"{meter.upstream}/{meter.model}/{meter.what}" if unit else None,
        "SkuMeter": meter.what if unit else None,
        "SkuPriceId": f"{meter.upstream}/{meter.model}/{meter.what}@{meter.price_nano}"
        if unit
        else None,
        "SubAccountId": meter.team or None,
        "SubAccountName": meter.team or None,
        "SubAccountType": "Team" if meter.team else None,
        "Tags": _tags(meter),
        "x_Calls": str(found.calls),
        "x_Endpoint": meter.endpoint or None,
        "x_Key": meter.key or None,
        "x_PriceSource": meter.price_source or None,
        "x_Workflow": meter.workflow or None,
    }
    return {column: values.get(column) for column in COLUMNS}


def _list_price(price: str | None, found: Sum) -> str | None:
    """What one costs on the list: the price itself where it is no other, else what it comes to."""
    if found.list_nano == found.cost_nano or not found.quantity:
        return price
    return usd_of(Fraction(found.list_nano, found.quantity))


def _description(meter: Meter, unit: str | None) -> str:
    if meter.what == _CORRECTION:
        return f"Correction of what {meter.model or 'calls'} cost"
    if unit is None:
        return f"{meter.model or 'A model'} as a whole ({meter.price_source or 'no price'})"
    return f"{meter.model}: {meter.what.replace('_', ' ')}"


def _tags(meter: Meter) -> str:
    named = {"organisation": meter.organisation, "team": meter.team, "workflow": meter.workflow}
    return msgspec.json.encode({k: v for k, v in named.items() if v}).decode()


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def usd_of(nano: Fraction) -> str:
    """A price in nano-dollars as decimal text in dollars, to 15 places."""
    scaled = round(nano * 10**6)  # 1e-15 dollars
    whole, part = divmod(scaled, 10**15)
    return f"{whole}.{part:015d}".rstrip("0").rstrip(".")
