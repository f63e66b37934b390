"""Rating: what an attempt is charged, of all that is known of its price.

The order: a price of the configuration (a contract), what the provider stated, the list price. Where
nothing gives a price the attempt is unpriced, which is never the same as free. What comes second is
kept beside the charge, so that the two can be compared. The data path and a reprice rate alike.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from proxy.core.pricing import (
    TIER_FLAG,
    VARIANT_FLAG,
    Charge,
    PriceBook,
    PriceQuery,
    Rates,
    charge_together,
    stated_charge,
)
from proxy.core.usage import EMPTY, Usage, UsagePart

CONFIGURATION = "configuration"  # the sources of a charge
STATED = "provider"
UNPRICED = "unpriced"
NO_CHARGE = Charge(0, ())

LookUp = Callable[[PriceQuery, int], Rates | None]


class Metered(Struct, frozen=True):
    """What an attempt used, and all that decides its price."""

    upstream: str  # the configured name
    provider: str  # the price book's name for it
    model: str  # as asked of the upstream
    model_served: str = ""
    tier: str = ""  # as the answer names it
    variants: tuple[str, ...] = ()  # what else decides the price
    usage: Usage = EMPTY
    parts: tuple[UsagePart, ...] = ()  # where it is billed in parts
    stated_nano: int | None = None  # what the provider stated


class Rated(NamedTuple):
    """A charge, where it comes from, and what it would be at the list price (None: there is none)."""

    charge: Charge
    source: str
    version: str
    list_nano: int | None = None


def rate(prices: PriceBook, metered: Metered, at_us: int) -> Rated:
    """What an attempt of a call that began then is charged."""
    ours = _rate(prices.rates, metered, at_us)
    if ours.source == CONFIGURATION:
        listed = _rate(prices.listed, metered, at_us)
        return ours._replace(list_nano=None if listed.source == UNPRICED else listed.charge.nano)
    list_nano = None if ours.source == UNPRICED else ours.charge.nano
    if metered.stated_nano is not None:
        return Rated(stated_charge(metered.stated_nano), STATED, "", list_nano)
    return Rated(ours.charge, ours.source, ours.version, list_nano)


def _rate(look_up: LookUp, metered: Metered, at_us: int) -> Rated:
    if metered.parts:
        return _in_parts(look_up, metered, at_us)
    rates = _rates(look_up, metered, metered.tier, "", at_us)
    if rates is None:
        return Rated(NO_CHARGE, UNPRICED, "")
    return Rated(rates.charge(metered.usage), rates.source, rates.version)


def _in_parts(look_up: LookUp, metered: Metered, at_us: int) -> Rated:
    """Each part at its own model's price and tier. One that has none leaves the whole unpriced."""
    priced, unpriced = [], False
    for part in metered.parts:
        rates = _rates(look_up, metered, part.service_tier or metered.tier, part.model, at_us)
        if rates is None:
            unpriced = True
        else:
            model = part.model or metered.model_served or metered.model
            priced.append((rates, part.usage, model))
    charge = charge_together(priced)
    if unpriced:
        return Rated(charge, UNPRICED, "")
    sources = {rates.source for rates, _, _ in priced}
    versions = dict.fromkeys(rates.version for rates, _, _ in priced)
    source = CONFIGURATION if CONFIGURATION in sources else priced[0][0].source
    return Rated(charge, source, " ".join(versions))


def _rates(look_up: LookUp, metered: Metered, tier: str, model: str, at_us: int) -> Rates | None:
    variants = (tier, *metered.variants) if tier else metered.variants
    named = model or metered.model_served or metered.model
    query = PriceQuery(metered.upstream, metered.provider, named, variants)
    rates = look_up(query, at_us)
    if rates is None and not model and metered.model_served:
        # Deployments serve under names that no list has: then by the name that was asked for.
        rates = look_up(query._replace(model=metered.model), at_us)
    return rates


# As an attempt's flags

_NOT_TOLD = frozenset(("default", "standard", "auto", "on_demand", "global", "not_available", ""))


def price_flags(tier: str, variants: tuple[str, ...]) -> tuple[str, ...]:
    """What of tier and variants makes another price than the list's, as flags of a row."""
    told = [TIER_FLAG + tier] if tier not in _NOT_TOLD else []
    return (*told, *(VARIANT_FLAG + v for v in dict.fromkeys(variants) if v not in _NOT_TOLD))


def from_flags(flags: tuple[str, ...] | list[str]) -> tuple[str, tuple[str, ...]]:
    """Tier and variants that ``price_flags`` wrote."""
    tier = next((f.removeprefix(TIER_FLAG) for f in flags if f.startswith(TIER_FLAG)), "")
    variants = (f.removeprefix(VARIANT_FLAG) for f in flags if f.startswith(VARIANT_FLAG))
    return tier, tuple(variants)
