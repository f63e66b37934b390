"""Prices and charges. A charge is computed exactly, with integers, and rounded once, half to even."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from proxy.core.money import round_half_even
from proxy.core.usage import BUCKETS, Usage


class ChargeLine(NamedTuple):
    """One line of a charge: ``quantity`` of ``what`` at ``price_nano`` nano-dollars each (exact decimal)."""

    what: str
    quantity: int
    price_nano: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What one attempt costs, in nano-dollars, with the lines that add up to it (before rounding)."""

    nano: int
    lines: tuple[ChargeLine, ...]


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The prices of requests with more than ``above`` input tokens (0: of all).

    ``numerators`` has one price for each bucket of ``Usage``, in the order of ``BUCKETS``, in
    nano-dollars × the rates' common denominator; ``shown`` the same as decimal text.
    """

    above: int
    numerators: tuple[int, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs at one time in one context, ready to multiply."""

    source: str  # configuration | provider | pricebook
    version: str  # names the price data, so that a row can be re-rated
    denominator: int
    tiers: tuple[PriceTier, ...]  # highest ``above`` first; the last has above = 0
    per_request: int = 0  # numerator; per_request_shown likewise
    per_request_shown: str = "0"

    def tier(self, input_tokens: int) -> PriceTier:
        """The tier of a request with so many input tokens; the whole request is priced by it."""
        for tier in self.tiers:
            if input_tokens > tier.above:
                return tier
        return self.tiers[-1]

    def charge(self, usage: Usage) -> Charge:
        """Usage × price."""
        tier = self.tier(usage.input_tokens)
        total = self.per_request
        lines = []
        for bucket, numerator, shown in zip(BUCKETS, tier.numerators, tier.shown, strict=True):
            count: int = getattr(usage, bucket)
            if count:
                total += count * numerator
                lines.append(ChargeLine(bucket, count, shown))
        if self.per_request:
            lines.append(ChargeLine("request", 1, self.per_request_shown))
        return Charge(round_half_even(total, self.denominator), tuple(lines))

    def most_nano(self, input_tokens: int, output_tokens: int) -> int:
        """An upper bound of what at most so many text tokens in and out can cost, rounded up."""
        worst = 0
        for tier in self.tiers:
            if input_tokens > tier.above or tier.above == 0:
                prices = dict(zip(BUCKETS, tier.numerators, strict=True))
                dearest_in = max(prices[b] for b in TEXT_INPUT)
                dearest_out = max(prices[b] for b in TEXT_OUTPUT)
                worst = max(worst, input_tokens * dearest_in + output_tokens * dearest_out)
        return -(-(worst + self.per_request) // self.denominator)


TEXT_INPUT = ("input", "cached_input", "cache_write", "cache_write_1h")
TEXT_OUTPUT = ("output", "reasoning")


class PriceQuery(NamedTuple):
    """What decides a price. Hashable, so that answers can be kept."""

    upstream: str  # the configured name
    provider: str  # the price book's name for it: openai, anthropic, …
    model: str  # as the answer names it, where it does
    variants: tuple[str, ...] = ()  # flex, priority, batch, fast …, as the answer says


class PriceBook(Protocol):
    """Dated prices, in layers: configuration, then the committed price data, then none."""

    def rates(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The rates at a time (epoch microseconds), or None where nothing gives a price."""

    def bound(self, query: PriceQuery, at_us: int) -> Rates | None:
        """Rates no lower than any that the answer may turn out to have.

        That is over every variant that the provider may choose by itself (a tier "auto"), where the
        request does not rule it out.
        """
