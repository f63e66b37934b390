"""Prices in the configuration: a contract, a self-hosted model, a mark-up. They go before the data."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from proxy.core.errors import ConfigurationError
from proxy.core.pricing import PriceQuery
from proxy.core.tariff import PRICE_KEYS, Tariff, tariff_from_keys
from proxy.store.price_match import names


@dataclass(frozen=True, slots=True)
class PriceRule:
    """What calls to the upstreams and models that match two globs cost, from a time on.

    With prices: those, times the multiplier. With a multiplier alone: it scales the price data.
    Raises ValueError for a price that is none, and for a rule that says nothing.
    """

    upstream: str = "*"
    model: str = "*"
    prices: Mapping[str, Decimal] = field(default_factory=dict)  # keys as in PRICE_KEYS
    valid_from_us: int | None = None  # None: since ever
    multiplier: Decimal | None = None
    tariff: Tariff = field(init=False, repr=False, compare=False)
    version: str = field(init=False, repr=False, compare=False)  # hash of what the rule says

    def __post_init__(self) -> None:
        if not self.prices and self.multiplier is None:
            raise ValueError("a price rule needs a price or a multiplier")
        if self.multiplier is not None and not (
            self.multiplier.is_finite() and self.multiplier >= 0
        ):
            raise ValueError(f"{self.multiplier} is not a multiplier")
        tariff = tariff_from_keys(self.prices).scaled(self.factor)
        object.__setattr__(self, "tariff", tariff)
        object.__setattr__(self, "version", f"rule-{self._hash()}")

    @property
    def factor(self) -> Fraction:
        """The multiplier; 1 where there is none."""
        return Fraction(1) if self.multiplier is None else Fraction(self.multiplier)

    def matches(self, query: PriceQuery) -> bool:
        """Whether the rule is for this call: by any name of the model, a snapshot's family among them."""
        return fnmatchcase(query.upstream.lower(), self.upstream.lower()) and any(
            fnmatchcase(name, self.model.lower()) for name in names(query.model)
        )

    def _hash(self) -> str:
        prices = sorted((key, str(Fraction(usd))) for key, usd in self.prices.items())
        said = [self.upstream, self.model, prices, self.valid_from_us, str(self.factor)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]


def applicable(rules: Sequence[PriceRule], query: PriceQuery) -> tuple[PriceRule, ...]:
    """The rules for a call, in the order in which they are asked.

    Rules for the same two globs are one price over time: at any time the latest that has begun
    holds, wherever it stands in the file. Otherwise the file's order decides: the series whose
    first rule stands first, as far as it has begun.
    """
    series: dict[tuple[str, str], list[PriceRule]] = {}
    for rule in rules:
        series.setdefault((rule.upstream, rule.model), []).append(rule)
    ordered = []
    for dated in series.values():
        if dated[0].matches(query):
            # Of two that begin at once, the first in the file is asked first: the sort is stable.
            ordered += sorted(dated, key=lambda rule: rule.valid_from_us or 0, reverse=True)
    return tuple(ordered)


def rules_from(written: Iterable[Any]) -> tuple[PriceRule, ...]:
    """The rules of the configuration's ``prices:``, in the file's order.

    Takes anything with the fields of ``settings.PriceOverride``. Raises ConfigurationError.
    """
    return tuple(_rule(number, price) for number, price in enumerate(written))


def _rule(number: int, written: Any) -> PriceRule:
    said = {key: getattr(written, key, None) for key in PRICE_KEYS}
    try:
        return PriceRule(
            upstream=written.upstream,
            model=written.model,
            # By its text: a float is what was written, not its nearest binary fraction.
            prices={key: Decimal(str(usd)) for key, usd in said.items() if usd is not None},
            valid_from_us=_midnight_us(written.valid_from),
            multiplier=None if written.multiplier is None else Decimal(str(written.multiplier)),
        )
    except ValueError as error:
        raise ConfigurationError(f"prices[{number}]: {error}") from error


def _midnight_us(day: date | None) -> int | None:
    """A date is the first moment of that day in UTC, as providers count days."""
    if day is None:
        return None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
