"""Tariffs: prices as they are written, with what is absent filled in, before they become ``Rates``.

Everything is a ``Fraction`` of nano-dollars a unit: exact, however the price was written ($0.36 an
hour is metered in milliseconds). Nothing here is on the data path; the price book keeps the outcome.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from proxy.core.pricing import PriceTier, Rates
from proxy.core.usage import BUCKETS

REQUEST = "request"  # stands beside the buckets: the price of a request itself


class Step(NamedTuple):
    """A price that applies to requests with more than ``above`` input tokens."""

    above: int
    nano: Fraction  # nano-dollars a unit


Steps = tuple[Step, ...]  # lowest ``above`` first; the first is 0

# The price keys of the configuration: which bucket, and nano-dollars a unit for one dollar.
PRICE_KEYS: Mapping[str, tuple[str, int]] = {
    "input_per_mtok": ("input", 1_000),
    "cached_input_per_mtok": ("cached_input", 1_000),
    "cache_write_per_mtok": ("cache_write", 1_000),
    "cache_write_1h_per_mtok": ("cache_write_1h", 1_000),
    "output_per_mtok": ("output", 1_000),
    "audio_input_per_mtok": ("audio_input", 1_000),
    "audio_output_per_mtok": ("audio_output", 1_000),
    "image_input_per_mtok": ("image_input", 1_000),
    "image_output_per_mtok": ("image_output", 1_000),
    "per_request": (REQUEST, 1_000_000_000),
    "per_image": ("images", 1_000_000_000),
    "per_second": ("milliseconds", 1_000_000),
    "per_mchar": ("characters", 1_000),
    "per_search": ("searches", 1_000_000_000),
    "per_page": ("pages", 1_000_000_000),
    "per_file_search": ("file_searches", 1_000_000_000),
    "per_container": ("containers", 1_000_000_000),
}

# What a surcharge on tokens (a region's, a fast lane's) applies to, and a tool's fee is not part of.
TOKENS = frozenset(
    (
        "input",
        "cached_input",
        "cache_write",
        "cache_write_1h",
        "audio_input",
        "cached_audio_input",
        "image_input",
        "cached_image_input",
        "output",
        "reasoning",
        "audio_output",
        "image_output",
    )
)

# Where a bucket has no price of its own: the first of these that has one. A discount or a surcharge
# is never assumed: what is cached costs what it would cost uncached. For sound and pictures the
# kind of token comes first, because it decides the price far more than the cache does.
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "cached_input": ("input",),
    "cache_write": ("input",),
    "cache_write_1h": ("cache_write", "input"),
    "audio_input": ("input",),
    "cached_audio_input": ("audio_input", "cached_input", "input"),
    "image_input": ("input",),
    "cached_image_input": ("image_input", "cached_input", "input"),
    "reasoning": ("output",),
    "audio_output": ("output",),
    "image_output": ("output",),
}


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model costs: steps for each bucket that has a price, and for ``request``."""

    steps: Mapping[str, Steps] = field(default_factory=dict)
    minimum_ms: int = 0
    search_once: bool = False  # however often one answer searched, it is billed once

    def filled(self) -> "Tariff":
        """The same with every bucket that falls back on another spelled out."""
        own = self.steps
        filled = dict(own)
        for bucket, others in FALLBACKS.items():
            if bucket not in own:
                found = next((own[other] for other in others if other in own), None)
                if found:
                    filled[bucket] = found
        return replace(self, steps=filled)

    def scaled(self, factor: Fraction, only: Container[str] | None = None) -> "Tariff":
        """Every price times ``factor``, or of the buckets in ``only``."""
        steps = {
            what: tuple(Step(above, nano * factor) for above, nano in steps)
            if only is None or what in only
            else steps
            for what, steps in self.steps.items()
        }
        return replace(self, steps=steps)

    def rates(self, source: str, version: str) -> Rates:
        """Ready to multiply, over one denominator."""
        steps = self.filled().steps
        denominator = lcm(*(s.nano.denominator for all_ in steps.values() for s in all_), 1)
        request = _at(steps.get(REQUEST, ()), 0)
        buckets = [steps.get(bucket, ()) for bucket in BUCKETS]
        tiers = []
        for above in sorted(_thresholds(buckets), reverse=True):
            prices = [_at(bucket, above) for bucket in buckets]
            numerators = tuple(int(price * denominator) for price in prices)
            tiers.append(PriceTier(above, numerators, tuple(decimal_text(p) for p in prices)))
        return Rates(
            source=source,
            version=version,
            denominator=denominator,
            tiers=tuple(tiers),
            per_request=int(request * denominator),
            per_request_shown=decimal_text(request),
            minimum_ms=self.minimum_ms,
            search_once=self.search_once,
        )


def tariff_from_keys(prices: Mapping[str, Decimal]) -> Tariff:
    """The tariff of a price in the configuration. Raises ValueError for a key or amount that is none."""
    steps: dict[str, Steps] = {}
    for key, usd in prices.items():
        if key not in PRICE_KEYS:
            raise ValueError(f"{key} is not a price key; there are: {', '.join(PRICE_KEYS)}")
        if not usd.is_finite() or usd < 0:
            raise ValueError(f"{key}: {usd} is not a price")
        bucket, nano_per_usd = PRICE_KEYS[key]
        steps[bucket] = (Step(0, Fraction(usd) * nano_per_usd),)
    return Tariff(steps)


def dearest(tariffs: Sequence[Tariff]) -> Tariff:
    """For each bucket and each number of input tokens the highest price that any of them has."""
    if len(tariffs) == 1:
        return tariffs[0]
    filled = [tariff.filled() for tariff in tariffs]
    steps: dict[str, Steps] = {}
    for what in {what for tariff in filled for what in tariff.steps}:
        alternatives = [tariff.steps.get(what, ()) for tariff in filled]
        steps[what] = tuple(
            Step(above, max(_at(alternative, above) for alternative in alternatives))
            for above in sorted(_thresholds(alternatives))
        )
    return Tariff(
        steps,
        max(tariff.minimum_ms for tariff in filled),
        all(tariff.search_once for tariff in filled),
    )


def _thresholds(alternatives: Iterable[Steps]) -> set[int]:
    return {0} | {step.above for steps in alternatives for step in steps}


def _at(steps: Steps, above: int) -> Fraction:
    """The price of a request with just more than ``above`` input tokens; 0 where there is none."""
    return next((step.nano for step in reversed(steps) if step.above <= above), Fraction(0))


def decimal_text(value: Fraction) -> str:
    """An exact decimal without exponent, or ``n/d`` where it has no end."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
