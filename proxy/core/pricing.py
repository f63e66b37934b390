"""Prices and charges. A charge is computed exactly, with integers, and rounded once, half to even.

``Tariff`` (tariff.py) is a price as it is written; ``Rates`` is the same, ready to multiply: whole
numbers over one denominator, so that a charge on the data path costs two microseconds and no fraction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import compress
from operator import attrgetter
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from proxy.core.money import round_half_even
from proxy.core.usage import BUCKETS, EMPTY, Usage


class ChargeLine(NamedTuple):
    """One line of a charge: ``quantity`` of ``what`` at ``price_nano`` nano-dollars each.

    The price is an exact decimal, or a fraction (``185/6``) where it has no end as a decimal: an
    hour of audio that is metered in milliseconds. ``model`` is the one whose price it is, where an
    answer is billed in parts at several models' prices.
    """

    what: str
    quantity: int
    price_nano: str
    model: str = ""


class Charge(Struct, frozen=True):
    """What one attempt costs, in nano-dollars, with the lines that add up to it (before rounding)."""

    nano: int
    lines: tuple[ChargeLine, ...]


# An attempt's flags for the tier that its answer named, and for what else decided its price, so that it
# can be rated again: tier=flex, variant=us.
TIER_FLAG = "tier="
VARIANT_FLAG = "variant="
BATCH = "batch"  # the variant of what nobody waits for, at half the price or so
# The variant of capacity that was paid for in advance: no token is billed, whatever the model.
PROVISIONED = "provisioned_throughput"
STATED_LINE = "stated"  # the line of a charge that the provider stated himself

TEXT_INPUT = ("input", "cached_input", "cache_write", "cache_write_1h")
ALL_OUTPUT = ("output", "reasoning", "audio_output", "image_output")


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The prices of requests with more than ``above`` input tokens (0: of all).

    ``numerators`` has one price for each bucket of ``Usage``, in the order of ``BUCKETS``, in
    nano-dollars × the rates' common denominator; ``shown`` the same as decimal text. The other
    fields follow from these two, worked out once.
    """

    above: int
    numerators: tuple[int, ...]
    shown: tuple[str, ...]
    priced: tuple[tuple[str, int, str], ...] = field(init=False, repr=False, compare=False)
    counts: Callable[[Usage], tuple[int, ...]] = field(init=False, repr=False, compare=False)
    dearest_input: int = field(init=False, repr=False, compare=False)
    dearest_output: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        prices = dict(zip(BUCKETS, self.numerators, strict=True))
        lines = zip(BUCKETS, self.numerators, self.shown, strict=True)
        priced = tuple(line for line in lines if line[1])
        # An attrgetter of one name gives no tuple: two names more than needed never matter.
        names = (*(bucket for bucket, _, _ in priced), *BUCKETS[:2])
        for name, value in {
            "priced": priced,
            "counts": attrgetter(*names),
            "dearest_input": max(prices[b] for b in TEXT_INPUT),
            "dearest_output": max(prices[b] for b in ALL_OUTPUT),
        }.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs at one time in one context, ready to multiply."""

    source: str  # configuration | pricebook
    version: str  # names the price data, so that a row can be re-rated
    denominator: int
    tiers: tuple[PriceTier, ...]  # highest ``above`` first; the last has above = 0
    per_request: int = 0  # numerator; per_request_shown likewise
    per_request_shown: str = "0"
    minimum_ms: int = 0  # audio shorter than this is billed as so long
    search_once: bool = False  # however often one answer searched, it is billed once
    adjusts: bool = field(
        init=False, repr=False, compare=False
    )  # what is billed may not be what was used

    def __post_init__(self) -> None:
        object.__setattr__(self, "adjusts", bool(self.minimum_ms or self.search_once))

    def tier(self, input_tokens: int) -> PriceTier:
        """The tier of a request with so many input tokens; the whole request is priced by it."""
        for tier in self.tiers:
            if input_tokens > tier.above:
                return tier
        return self.tiers[-1]

    def charge(self, usage: Usage) -> Charge:
        """Usage × price. What has no price has no line."""
        total, lines = self.reckon(usage)
        return Charge(round_half_even(total, self.denominator), tuple(lines))

    def reckon(self, usage: Usage, model: str = "") -> tuple[int, list[ChargeLine]]:
        """The exact sum, as a numerator over ``denominator``, and its lines."""
        if self.adjusts:
            usage = self._billed(usage)
        tiers = self.tiers
        tier = tiers[0] if len(tiers) == 1 else self.tier(usage.input_tokens)
        total = self.per_request
        lines: list[ChargeLine] = []
        counts = tier.counts(usage)
        for count, (bucket, numerator, shown) in compress(
            zip(counts, tier.priced, strict=False), counts
        ):
            total += count * numerator
            lines.append(_new_line(ChargeLine, (bucket, count, shown, model)))
        if self.per_request:
            lines.append(ChargeLine("request", 1, self.per_request_shown, model))
        return total, lines

    def most_nano(self, input_tokens: int, output_tokens: int, beside: Usage | None = None) -> int:
        """An upper bound, rounded up, of what at most so many tokens in and out can cost.

        Input is text, in whichever bucket the provider puts it (cached, written to a cache); output
        is of any kind. Every tier that so much input can reach is looked at, because fewer tokens
        may be dearer or cheaper. ``beside`` are counts that the request itself gives: pictures
        asked for, characters to speak, tokens of audio or image sent along.
        """
        if (beside is None or beside is EMPTY) and len(self.tiers) == 1:
            (tier,) = self.tiers
            cost = input_tokens * tier.dearest_input + output_tokens * tier.dearest_output
            return -(-(cost + self.per_request) // self.denominator)
        beside = self._billed(beside) if beside is not None else EMPTY
        extra_input = beside.input_tokens
        most = next_above = input_tokens + extra_input
        worst = 0
        for tier in self.tiers:
            if most > tier.above or tier.above == 0:
                # At most so many tokens are still in this tier; more are priced by the next one.
                fitting = max(min(most, next_above) - extra_input, 0)
                cost = fitting * tier.dearest_input + output_tokens * tier.dearest_output
                if beside is not EMPTY:
                    cost += sum(
                        n * p for n, p in zip(_counts(beside), tier.numerators, strict=True)
                    )
                worst = max(worst, cost)
            next_above = tier.above
        return -(-(worst + self.per_request) // self.denominator)

    def likely_nano(self, input_tokens: int, output_tokens: int, beside: Usage = EMPTY) -> int:
        """What so many tokens of plain text in and out cost, and what the request itself counts."""
        prices = self.tier(input_tokens).numerators
        cost = input_tokens * prices[_INPUT] + output_tokens * prices[_OUTPUT] + self.per_request
        if beside is not EMPTY:
            counts = _counts(self._billed(beside))
            cost += sum(n * p for n, p in zip(counts, prices, strict=True))
        return round_half_even(cost, self.denominator)

    def _billed(self, usage: Usage) -> Usage:
        if 0 < usage.milliseconds < self.minimum_ms:
            usage = replace(usage, milliseconds=self.minimum_ms)
        if self.search_once and usage.searches > 1:
            usage = replace(usage, searches=1)
        return usage


_counts: Callable[[Usage], tuple[int, ...]] = attrgetter(*BUCKETS)
_INPUT, _OUTPUT = BUCKETS.index("input"), BUCKETS.index("output")
_new_line: Callable[[type[ChargeLine], tuple[str, int, str, str]], ChargeLine] = tuple.__new__


def charge_together(parts: Iterable[tuple[Rates, Usage, str]]) -> Charge:
    """The charge of an answer that is billed in parts, each at its model's price: rounded once, as a whole."""
    total = Fraction(0)
    lines: list[ChargeLine] = []
    for rates, usage, model in parts:
        numerator, more = rates.reckon(usage, model)
        total += Fraction(numerator, rates.denominator)
        lines += more
    return Charge(round_half_even(total.numerator, total.denominator), tuple(lines))


def stated_charge(nano: int) -> Charge:
    """The charge that a provider stated: one line, which is all that he said of it."""
    return Charge(nano, (ChargeLine(STATED_LINE, 1, str(nano)),) if nano else ())


class PriceQuery(NamedTuple):
    """What decides a price. Hashable, so that answers can be kept."""

    upstream: str  # the configured name
    provider: str  # the price book's name for it: openai, anthropic, …
    model: str  # as the answer names it, where it does
    variants: tuple[str, ...] = ()  # flex, priority, batch, fast, us …, as the answer says


class PriceBook(Protocol):
    """Dated prices, in layers: configuration, then the committed price data, then none."""

    def rates(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The rates at a time (epoch microseconds), or None where nothing gives a price."""

    def listed(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The list price alone, whatever the configuration says: for audit."""

    def bound(self, query: PriceQuery, at_us: int) -> Rates | None:
        """Rates no lower than any that the answer may turn out to have.

        That is over every variant that the provider may choose by itself (a tier "auto"), where the
        request does not rule it out.
        """
