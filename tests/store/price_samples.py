"""Small price books for tests: a provider called acme, and one that sells its models."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson

from proxy.core.pricing import PriceQuery, Rates
from proxy.core.usage import BUCKETS
from proxy.settings import PriceOverride
from proxy.store.price_data import PriceData
from proxy.store.price_rules import PriceRule, rules_from


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


NOW = us("2026-11-22T12:00")


def data(*models: dict[str, Any]) -> PriceData:
    """Price data of one provider, acme, and of reseller, who sells acme's models."""
    head = {"format": 1, "source": "test-1"}
    acme = [
        {"provider": "acme"},
        *({"provider": "acme", "match": {"equals": m["id"]}, **m} for m in models),
    ]
    reseller = {"provider": "reseller", "fallback": ["acme"]}
    return PriceData(b"\n".join(orjson.dumps(line) for line in (head, *acme, reseller)))


def usd(**prices: Any) -> dict[str, Any]:
    return {"usd": {f"{key}_mtok": price for key, price in prices.items()}}


def asked(
    model: str = "m", *variants: str, upstream: str = "up", provider: str = "acme"
) -> PriceQuery:
    return PriceQuery(upstream, provider, model, variants)


def price(rates: Rates | None, bucket: str = "input") -> str:
    """Dollars per million tokens, as text; "unpriced" where there are no rates."""
    if rates is None:
        return "unpriced"
    shown = rates.tiers[-1].shown[BUCKETS.index(bucket)]
    return f"{Decimal(shown) / 1000:f}"


def rule(**said: Any) -> PriceRule:
    """A rule of the configuration, through the settings' own model."""
    (made,) = rules_from([PriceOverride(**said)])
    return made


@dataclass
class Written:
    """A rule that no validation looked at."""

    upstream: str = "*"
    model: str = "*"
    input_per_mtok: Any = None
    valid_from: date | None = None
    multiplier: Any = None
