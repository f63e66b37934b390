"""Our prices against what providers themselves said that recorded calls cost.

Skipped where the recordings are not beside the checkout.
"""

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.core.pricing import PriceQuery
from proxy.gateway.dialects.stated import search_context, stated_nano
from proxy.gateway.dialects.usage import read_usage
from proxy.store.price_data import PriceData
from proxy.store.pricebook import LayeredPriceBook
from tests.store.price_samples import NOW

_BESIDE = Path(__file__).parents[3] / "shared" / "exchanges"
_FILE = Path(os.environ.get("FAREBOX_EXCHANGES", str(_BESIDE))) / "replay.jsonl.gz"
_MODEL = re.compile(r'"model":\s*"([^"]+)"')
_CREATED = re.compile(r'"created(?:_at)?":\s*(\d{10})')
_CENT_HUNDREDTHS_NANO = 10_000  # $0.00001: Perplexity rounds each amount to that
# Sold by many, each at a price of its own; which one served a call is not in the usage.
_MANY_ROUTES = re.compile(r"^(?:openai/gpt-oss|moonshotai/|muse-spark)")

pytestmark = pytest.mark.skipif(not _FILE.exists(), reason="no recordings here")


class Stated(NamedTuple):
    """A recorded call whose provider stated its cost."""

    provider: str
    model: str
    usage: dict[str, Any]
    source: str
    stated_nano: int
    ours_nano: int | None


def recorded() -> Iterator[Stated]:
    book = LayeredPriceBook((), PriceData.load())
    with gzip.open(_FILE, "rt", encoding="utf-8") as lines:
        for line in lines:
            exchange = json.loads(line)
            found = [u for _, u in exchange["usage"] if isinstance(u, dict)]
            usage = found[-1] if found else {}
            stated = stated_nano(usage)
            if stated is not None:
                model, ours = _ours(book, exchange, usage)
                provider = _provider(exchange, usage)
                yield Stated(provider, model, usage, exchange["source"], stated, ours)


def _provider(exchange: dict[str, Any], usage: dict[str, Any]) -> str:
    # OpenRouter is also called through another's name in some recordings: its usage tells.
    return "openrouter" if "is_byok" in usage else str(exchange["provider"])


def _ours(
    book: LayeredPriceBook, exchange: dict[str, Any], usage: dict[str, Any]
) -> tuple[str, int | None]:
    text = exchange.get("response_text") or ""
    served = _MODEL.search(text)
    asked = str((exchange["request_json"] or {}).get("model") or "")
    model = served[1] if served else asked
    size = search_context(usage)
    for name in (model, asked):
        query = PriceQuery("any", _provider(exchange, usage), name, (size,) if size else ())
        if rates := book.rates(query, _when_us(exchange, text)):
            return model, rates.charge(read_usage(usage).usage).nano
    return model, None


def _when_us(exchange: dict[str, Any], text: str) -> int:
    if created := _CREATED.search(text):
        return int(created[1]) * 1_000_000
    date = dict(exchange["response_headers"] or {}).get("date")
    date = date[0] if isinstance(date, list) else date
    return int(parsedate_to_datetime(date).timestamp()) * 1_000_000 if date else NOW


def why_not_equal(call: Stated) -> str:
    """What the amount depends on that the body does not hold, or that is no price; "" where nothing."""
    if call.source == "vercel/ai":
        return "an invented cost"
    if not read_usage(call.usage).usage.nonzero():
        return "a cost without any count"
    if call.provider == "perplexity" or "perplexity/" in call.model:
        return "rounded to $0.00001"
    return "one of many routes" if _MANY_ROUTES.match(call.model) else ""


def test_our_prices_are_what_providers_state() -> None:
    """To the nano-dollar, wherever the usage holds all that a cost depends on; the rest by reason."""
    equal: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for call in recorded():
        if call.ours_nano == call.stated_nano:
            equal[call.provider] += 1
            continue
        why = why_not_equal(call)
        assert why, call
        others[why] += 1
        if why.startswith("rounded"):
            assert call.ours_nano is not None
            assert abs(call.ours_nano - call.stated_nano) <= _CENT_HUNDREDTHS_NANO, call

    print(f"\nequal: {dict(equal)}; others: {dict(others)}")  # noqa: T201 - the figures are the point
    assert equal["xai"] >= 25
    assert equal["openrouter"] >= 55
    assert sum(others.values()) <= 20
