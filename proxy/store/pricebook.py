"""The price book: what a call costs, from the configuration, else from the price data, else unknown.

A call, with all its attempts, pays the price of the moment it began. What was looked up is kept until the moment that the
price may change, misses too, so that a call on the data path costs one look into a dict.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, product
from typing import Any, NamedTuple

from proxy.core.pricing import BATCH, PROVISIONED, PriceQuery, Rates
from proxy.core.tariff import Tariff, dearest
from proxy.store import list_price
from proxy.store.list_price import DAY_US
from proxy.store.price_data import Found, PriceData
from proxy.store.price_rules import PriceRule, applicable, rules_from

_FOREVER = 1 << 62
_MOST_KEPT = 10_000  # a client can name any model; what is kept must not grow with it
_MOST_NAMED = 8  # more than any request names; each doubles what a bound looks at

# What answers say where they mean the list price: of tiers, and of places.
_PLAIN_TIERS = frozenset(("default", "standard", "on_demand", "standard_only"))
_PLAIN = _PLAIN_TIERS | {"auto", "global", "not_available"}
# What a request says where it leaves nothing to its provider.
_NOTHING_ELSE = {
    "service_tier": _PLAIN_TIERS | {BATCH},
    "inference_geo": frozenset(("global",)),
}
_SPELLINGS = {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "service_tier_flex": "flex",
    "service_tier_priority": "priority",
    "service_tier_standard": "standard",
    "service_tier_unspecified": "auto",
    "scale": PROVISIONED,  # OpenAI's Scale Tier: units of throughput, paid by the day
    "reserved": PROVISIONED,  # Bedrock's
}


class _Priced(NamedTuple):
    tariff: Tariff
    source: str
    version: str


class _Kept(NamedTuple):
    from_us: int
    until_us: int
    rates: Rates | None


class LayeredPriceBook:
    """Dated prices in layers; see docs/prices.md for which one wins."""

    def __init__(self, overrides: Sequence[PriceRule], data: PriceData) -> None:
        self._overrides = tuple(overrides)
        self._data = data
        self._rates: dict[PriceQuery, _Kept] = {}
        self._bounds: dict[PriceQuery, _Kept] = {}
        self._listed: dict[PriceQuery, _Kept] = {}

    @property
    def version(self) -> str:
        """The version of the price data."""
        return self._data.version

    def rates(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The rates at a time (epoch microseconds), or None where nothing gives a price."""
        kept = self._rates.get(query)
        if kept is None or not kept.from_us <= at_us < kept.until_us:
            look = _Lookup(self._overrides, self._data, query)
            priced = look.price(at_us, look.variants)
            kept = _keep(self._rates, query, look.span(at_us), priced)
        return kept.rates

    def listed(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The list price alone, whatever the configuration says: for audit."""
        kept = self._listed.get(query)
        if kept is None or not kept.from_us <= at_us < kept.until_us:
            look = _Lookup((), self._data, query)
            priced = look.price(at_us, look.variants)
            kept = _keep(self._listed, query, look.span(at_us), priced)
        return kept.rates

    def bound(self, query: PriceQuery, at_us: int) -> Rates | None:
        """Rates no lower than any that an answer to this request may turn out to have.

        ``variants`` are what the request says. What it leaves to the provider (a tier: none, or
        "auto"; where the answer is made) counts at the dearest that the provider may choose; else it
        is the list price or what the request names, because a provider may fall back to the list
        price. The model's name is taken as it stands: an alias costs what its alias costs.
        """
        kept = self._bounds.get(query)
        if kept is None or not kept.from_us <= at_us < kept.until_us:
            look = _Lookup(self._overrides, self._data, query)
            kept = _keep(self._bounds, query, look.span(at_us), look.bound(at_us))
        return kept.rates


def layered_book(written: Iterable[Any], data: PriceData | None = None) -> LayeredPriceBook:
    """The price book of a configuration's ``prices:``, over the price data of this release.

    Raises ConfigurationError. A changed configuration has a book of its own, so that calls under
    way keep their prices; the data is shared.
    """
    return LayeredPriceBook(rules_from(written), data or PriceData.load())


def _keep(
    where: dict[PriceQuery, _Kept], query: PriceQuery, span: tuple[int, int], priced: _Priced | None
) -> _Kept:
    if len(where) >= _MOST_KEPT:
        where.clear()
    rates = priced.tariff.rates(priced.source, priced.version) if priced else None
    kept = where[query] = _Kept(*span, rates)
    return kept


class _Lookup:
    """One question, answered the long way."""

    def __init__(self, overrides: Sequence[PriceRule], data: PriceData, query: PriceQuery) -> None:
        self.rules = applicable(overrides, query)
        self.data = data
        self.found: Found | None = data.find(query.provider, query.model)
        self.said = tuple(_spelled(variant) for variant in query.variants)
        self.variants = tuple(v for v in self.said if v and v not in _PLAIN)

    def price(self, at_us: int, variants: tuple[str, ...]) -> _Priced | None:
        """The first layer's price that there is."""
        begun = (r for r in self.rules if r.valid_from_us is None or r.valid_from_us <= at_us)
        rule = next(begun, None)
        if rule and rule.prices and PROVISIONED not in variants:
            return _Priced(rule.tariff, "configuration", rule.version)
        listed = self._listed(at_us, variants)
        if rule and listed:
            scaled = listed.tariff.scaled(rule.factor)
            return _Priced(scaled, "configuration", f"{rule.version}@{listed.version}")
        return listed

    def _listed(self, at_us: int, variants: tuple[str, ...]) -> _Priced | None:
        if PROVISIONED in variants:
            return _Priced(Tariff(), "pricebook", f"{self.data.version}*{PROVISIONED}")
        if self.found is None:
            return None
        model = self.found.model
        # What the price rests on beside the data is told in its version, so that a row shows it.
        version = self.data.version if self.found.exact else f"{self.data.version}~{model.id}"
        known = {value for _, value in list_price.variants_of(model, at_us)}
        unknown = [variant for variant in variants if variant not in known]
        version += "".join(f"!{variant}" for variant in unknown)
        return _Priced(list_price.tariff(model, at_us, variants), "pricebook", version)

    def bound(self, at_us: int) -> _Priced | None:
        """The dearest price, over what the provider may choose."""
        priced = [p for v in self._choices(at_us) if (p := self.price(at_us, v))]
        return priced[0]._replace(tariff=dearest([p.tariff for p in priced])) if priced else None

    def _choices(self, at_us: int) -> Iterable[tuple[str, ...]]:
        """What the answer may turn out to have: some of what was asked for, and some of what was left open."""
        known = list_price.variants_of(self.found.model, at_us) if self.found else []
        values = {PROVISIONED, *(value for _, value in known)}
        named = [v for v in dict.fromkeys(self.variants) if v in values][:_MOST_NAMED]
        # A batch is one, whatever else it turns out to be.
        ways: list[tuple[tuple[str, ...], ...]] = [
            ((variant,),) if variant == BATCH else ((), (variant,)) for variant in named
        ]
        for key in list_price.CHOSEN_BY_PROVIDER:
            open_values = [value for k, value in known if k == key]
            if open_values and not self._names(key, open_values):
                ways.append(((), *((value,) for value in open_values)))
        return (tuple(chain.from_iterable(choice)) for choice in product(*ways))

    def _names(self, key: str, values: Iterable[str]) -> bool:
        """Whether the request itself says which of these it wants."""
        if not set(self.said).isdisjoint(values):
            return True
        return not _NOTHING_ELSE.get(key, frozenset()).isdisjoint(self.said)

    def span(self, at_us: int) -> tuple[int, int]:
        """The time around ``at_us``, end excluded, in which the answer stays the same."""
        dates, times = list_price.turning_points(self.found.model) if self.found else (set(), set())
        dates |= {rule.valid_from_us for rule in self.rules if rule.valid_from_us is not None}
        midnight = at_us - at_us % DAY_US
        days = (midnight - DAY_US, midnight, midnight + DAY_US)
        turns = dates | {day + time for day in days for time in times}
        return (
            max((turn for turn in turns if turn <= at_us), default=-_FOREVER),
            min((turn for turn in turns if turn > at_us), default=_FOREVER),
        )


def _spelled(variant: str) -> str:
    variant = variant.strip().lower()
    return _SPELLINGS.get(variant, variant)
