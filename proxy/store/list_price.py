"""One model's list price at a time and in a context: conditions, variants, and units made into a tariff."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Any

from proxy.core.pricing import PROVISIONED
from proxy.core.tariff import REQUEST, TOKENS, Step, Steps, Tariff
from proxy.store.price_data import ListPrice

DAY_US = 86_400_000_000

# The data's keys for each bucket, most special first, and nano-dollars a unit for one dollar there:
# a million tokens or characters, a thousand of what is counted by the piece, an hour of sound. What a
# model prices beside (tokens of video, citations, pages with annotations) is in no bucket of Usage.
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
    "milliseconds": (
        ("input_audio_hours", "audio_hours", "output_audio_hours", "output_video_hours"),
        _HOUR_MS,
    ),
    "characters": (("input_mchars",), _MTOK),
    "images": (("output_images_kcount",), _THOUSAND),
    "searches": (("web_searches_kcount", "rerank_searches_kcount"), _THOUSAND),
    "pages": (("input_document_kpages",), _THOUSAND),
    "file_searches": (("storage_searches_kcount",), _THOUSAND),
    "containers": (("code_containers_kcount",), _THOUSAND),
    REQUEST: (("requests_kcount",), _THOUSAND),
}

# What a provider may choose by itself, where the request leaves it to him. Batches, fast modes, sizes
# of pictures and kinds of search are asked for.
CHOSEN_BY_PROVIDER = ("inference_geo", "route", "search_context", "service_tier")


def tariff(model: ListPrice, at_us: int, variants: Iterable[str] = ()) -> Tariff:
    """What the model costs at a time, with every variant applied that the call has."""
    usd = dict(_standard(model, at_us))
    wanted = frozenset(variants)
    if PROVISIONED in wanted:
        return Tariff()
    overrides: dict[str, Any] = {}
    times: dict[tuple[str, ...], Fraction] = {}
    for variant in model.variants:
        if holds(variant, at_us) and wanted.issuperset(variant["when"].values()):
            overrides = {**variant.get("usd", {}), **overrides}
            if "times" in variant:
                times.setdefault(tuple(variant["when"]), Fraction(variant["times"]))
    listed = _tariff(usd | overrides, model)
    return listed.scaled(prod(times.values(), start=Fraction(1)), TOKENS) if times else listed


def _standard(model: ListPrice, at_us: int) -> Mapping[str, Any]:
    for price in reversed(model.prices):
        if holds(price, at_us):
            usd: Mapping[str, Any] = price["usd"]
            return usd
    first: Mapping[str, Any] = model.prices[0]["usd"]
    return first


def variants_of(model: ListPrice, at_us: int) -> list[tuple[str, str]]:
    """What makes another price of the model at this time: the key and the value that it has."""
    known = [
        condition
        for variant in model.variants
        if holds(variant, at_us)
        for condition in variant["when"].items()
    ]
    return list(dict.fromkeys(known))


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


def _tariff(usd: Mapping[str, Any], model: ListPrice) -> Tariff:
    steps: dict[str, Steps] = {}
    for bucket, (keys, nano_per_usd) in _UNITS.items():
        found = next((usd[key] for key in keys if key in usd), None)
        if found is not None:
            tiers = {"0": found} if isinstance(found, str) else found
            steps[bucket] = tuple(
                Step(above, Fraction(Decimal(price)) * nano_per_usd)
                for above, price in sorted((int(above), price) for above, price in tiers.items())
            )
    if "input_audio_hours" in usd:  # sound that is billed by its length is not by its tokens, too
        steps.setdefault("audio_input", (Step(0, Fraction(0)),))
    return Tariff(steps, model.minimum_ms, model.search_once)
