"""One model's list price at a time and in a context: conditions, variants, and units made into a tariff."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

from proxy.core.tariff import REQUEST, Step, Steps, Tariff
from proxy.store.price_data import ListPrice

DAY_US = 86_400_000_000

# The data's keys for each bucket, most special first, and nano-dollars a unit for one dollar there:
# a million tokens or characters, a thousand searches or requests, an hour of sound. What a model
# prices beside (pages, video, citations, code runs, stored searches) is in no bucket of Usage.
_MTOK, _THOUSAND, _HOUR_MS = Fraction(1_000), Fraction(1_000_000), Fraction(10**9, 3_600_000)
_UNITS: Mapping[str, tuple[tuple[str, ...], Fraction]] = {
    "input": (("input_text_mtok", "input_mtok"), _MTOK),
    "cached_input": (("cache_text_read_mtok", "cache_read_mtok"), _MTOK),
    "cache_write": (
        (
            "cache_text_write_5m_mtok",
            "cache_write_5m_mtok",
            "cache_text_write_mtok",
            "cache_write_mtok",
        ),
        _MTOK,
    ),
    "cache_write_1h": (("cache_text_write_1h_mtok", "cache_write_1h_mtok"), _MTOK),
    "audio_input": (("input_audio_mtok",), _MTOK),
    "cached_audio_input": (("cache_audio_read_mtok",), _MTOK),
    "image_input": (("input_image_mtok",), _MTOK),
    "cached_image_input": (("cache_image_read_mtok",), _MTOK),
    "output": (("output_text_mtok", "output_mtok"), _MTOK),
    "reasoning": (("output_text_reasoning_mtok", "output_reasoning_mtok"), _MTOK),
    "audio_output": (("output_audio_mtok",), _MTOK),
    "image_output": (("output_image_mtok",), _MTOK),
    "milliseconds": (("input_audio_hours", "audio_hours", "output_audio_hours"), _HOUR_MS),
    "characters": (("input_mchars",), _MTOK),
    "searches": (("web_searches_kcount", "rerank_searches_kcount"), _THOUSAND),
    REQUEST: (("requests_kcount",), _THOUSAND),
}

# Tiers and routes that a provider may choose by itself, where the request leaves it to him. Batches,
# fast modes and kinds of search are asked for.
_CHOSEN_BY_PROVIDER = frozenset({"service_tier", "route"})


def tariff(model: ListPrice, at_us: int, variants: Iterable[str] = ()) -> Tariff:
    """What the model costs at a time, with every variant applied that the call has."""
    usd = dict(_standard(model, at_us))
    wanted = frozenset(variants)
    overrides: dict[str, Any] = {}
    for variant in model.variants:
        if holds(variant, at_us) and wanted.issuperset(variant["when"].values()):
            overrides = {**variant["usd"], **overrides}
    return _tariff(usd | overrides, model.minimum_ms)


def _standard(model: ListPrice, at_us: int) -> Mapping[str, Any]:
    for price in reversed(model.prices):
        if holds(price, at_us):
            usd: Mapping[str, Any] = price["usd"]
            return usd
    first: Mapping[str, Any] = model.prices[0]["usd"]
    return first


def has_variant(model: ListPrice, at_us: int, variant: str) -> bool:
    """Whether the model has a price for this variant at this time."""
    return any(variant in v["when"].values() and holds(v, at_us) for v in model.variants)


def chosen_by_provider(model: ListPrice, at_us: int) -> set[str]:
    """The variants that an answer may turn out to have though the request named none."""
    return {
        value
        for variant in model.variants
        if holds(variant, at_us)
        for key, value in variant["when"].items()
        if key in _CHOSEN_BY_PROVIDER
    }


# Time


def holds(condition: Mapping[str, Any], at_us: int) -> bool:
    """Whether a dated price applies at a time (epoch microseconds); one without condition always does."""
    if "from" in condition:
        return at_us >= _date_us(condition["from"])
    if "daily" in condition:
        start, end = (_time_us(text) for text in condition["daily"])
        now = at_us % DAY_US
        return start <= now < end if start <= end else (now >= start or now < end)
    return True


def turning_points(model: ListPrice) -> tuple[set[int], set[int]]:
    """When the price may change: moments (epoch microseconds) and times of day (microseconds)."""
    dates: set[int] = set()
    times: set[int] = set()
    for condition in (*model.prices, *model.variants):
        if "from" in condition:
            dates.add(_date_us(condition["from"]))
        elif "daily" in condition:
            times.update(_time_us(text) for text in condition["daily"])
    return dates, times


def _date_us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _time_us(text: str) -> int:
    moment = time.fromisoformat(text)
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000


# Units


def _tariff(usd: Mapping[str, Any], minimum_ms: int) -> Tariff:
    steps: dict[str, Steps] = {}
    for bucket, (keys, nano_per_usd) in _UNITS.items():
        found = next((usd[key] for key in keys if key in usd), None)
        if found is not None:
            tiers = {"0": found} if isinstance(found, str) else found
            steps[bucket] = tuple(
                Step(above, Fraction(Decimal(price)) * nano_per_usd)
                for above, price in sorted((int(above), price) for above, price in tiers.items())
            )
    return Tariff(steps, minimum_ms)
