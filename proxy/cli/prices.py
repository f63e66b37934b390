"""``farebox prices``: what models cost, and where that is known from."""

import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.session import ConfigOption, load, use_config
from proxy.cli.spans import moment
from proxy.core.errors import FareboxError
from proxy.store.clock import epoch_us, now_us

if TYPE_CHECKING:
    from proxy.core.pricing import PriceQuery, PriceTier, Rates
    from proxy.settings import Settings
    from proxy.store.price_data import PriceData

app = typer.Typer(help="What models cost.", no_args_is_help=True)
_SHOWN = (
    "input_per_mtok",
    "cached_input_per_mtok",
    "cache_write_per_mtok",
    "cache_write_1h_per_mtok",
    "output_per_mtok",
    "reasoning_per_mtok",
)
_COLUMNS = [
    Column("provider"),
    Column("model"),
    Column("variant"),
    Column("above_input_tokens", "above", number=True),
    *(
        Column(name, name.replace("_per_mtok", " $/M").replace("_", " "), number=True)
        for name in _SHOWN
    ),
    Column("beside", "beside $"),
    Column("source"),
]


@app.command("show")
def show_prices(
    model: Annotated[
        str, typer.Argument(help="A model; without, every model of the provider.")
    ] = "",
    *,
    provider: Annotated[str, typer.Option(help="As the price data names it.")] = "openai",
    upstream: Annotated[
        str, typer.Option(help="The upstream's name, for prices of the configuration.")
    ] = "",
    at: Annotated[
        datetime | None, typer.Option(parser=moment, help="At this time, else now.")
    ] = None,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show what a model costs.

    By the configuration's prices first, then the price data.
    """
    use_config(config)
    settings, _ = load()
    at_us = now_us() if at is None else epoch_us(at)
    rows = _prices(settings, model, provider, upstream, at_us)
    show(rows, _COLUMNS, output, "Prices in US dollars")


def _prices(
    settings: "Settings", model: str, provider: str, upstream: str, at_us: int
) -> list[dict[str, Any]]:
    from proxy.core.pricing import PriceQuery  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.price_data import PriceData  # noqa: PLC0415 - see above
    from proxy.store.pricebook import layered_book  # noqa: PLC0415 - see above

    data = PriceData.load()
    book = layered_book(settings.prices, data)
    rows: list[dict[str, Any]] = []
    for name in [model] if model else _models(data, provider):
        query = PriceQuery(upstream or provider, provider, name)
        plain = book.rates(query, at_us)
        if plain is None:
            continue
        rows += _rows(query, "", plain)
        for variant, variants in _variants(data, query, at_us).items():
            rates = book.rates(query._replace(variants=variants), at_us)
            if rates is not None and _prices_of(rates) != _prices_of(plain):
                rows += _rows(query, variant, rates)
    if not rows:
        raise FareboxError(
            f"nothing gives a price for {model or 'any model'!r} at {provider!r}; "
            "write one under `prices:` in the configuration"
        )
    return rows


def _models(data: "PriceData", provider: str) -> list[str]:
    known = data.provider_id(provider)
    if known is None:
        raise typer.BadParameter(
            f"{provider!r} is not in the price data; there are {', '.join(sorted(data.providers))}",
            param_hint="--provider",
        )
    return sorted(listed.id for listed in data.models(known))


def _variants(data: "PriceData", query: "PriceQuery", at_us: int) -> dict[str, tuple[str, ...]]:
    """What may make another price, as it is shown and as an answer says it."""
    from proxy.store.list_price import holds  # noqa: PLC0415 - slow; ``--help`` does without

    found = data.find(query.provider, query.model)
    shown: dict[str, tuple[str, ...]] = {}
    for variant in found.model.variants if found else ():
        if holds(variant, at_us):
            values = tuple(variant["when"].values())
            times = f" (×{variant['times']})" if "times" in variant else ""
            shown.setdefault(" ".join(values) + times, values)
    return shown


def _prices_of(rates: "Rates") -> tuple[Any, ...]:
    return (rates.denominator, rates.tiers, rates.per_request)


def _rows(query: "PriceQuery", variant: str, rates: "Rates") -> list[dict[str, Any]]:
    rows = []
    for tier in reversed(rates.tiers):
        prices = _by_key(rates, tier)
        beside = {key: usd for key, usd in prices.items() if key not in _SHOWN}
        rows.append(
            {
                "provider": query.provider,
                "model": query.model,
                "variant": variant,
                "above_input_tokens": tier.above or None,
                **{name: prices.get(name, "0") for name in _SHOWN},
                **beside,
                "beside": ", ".join([*map(" ".join, beside.items()), *_rules(rates)]),
                "source": f"{rates.source} {rates.version}",
            }
        )
    return rows


def _by_key(rates: "Rates", tier: "PriceTier") -> dict[str, str]:
    """The prices by the configuration's keys, but for those that only fall back on another."""
    from proxy.core.tariff import FALLBACKS, PRICE_KEYS  # noqa: PLC0415 - see above
    from proxy.core.usage import BUCKETS  # noqa: PLC0415 - see above

    keys = {bucket: (key, units) for key, (bucket, units) in PRICE_KEYS.items()}
    keys["reasoning"] = ("reasoning_per_mtok", 1_000)
    nano = dict(zip(BUCKETS, tier.shown, strict=True)) | {"request": rates.per_request_shown}
    prices = {}
    for bucket, (key, nano_per_usd) in keys.items():
        fallen_back = key not in _SHOWN and any(
            nano[bucket] == nano[other] for other in FALLBACKS.get(bucket, ())
        )
        if nano[bucket] != "0" and not fallen_back:
            prices[key] = _usd(nano[bucket], nano_per_usd)
    return prices


def _rules(rates: "Rates") -> list[str]:
    rules = [f"at least {rates.minimum_ms / 1000:g} s"] if rates.minimum_ms else []
    return [*rules, "searches once a request"] if rates.search_once else rules


def _usd(nano: str, nano_per_usd: int) -> str:
    """A price in nano-dollars a unit (a decimal or a fraction) as dollars for what its key counts."""
    numerator, _, denominator = nano.partition("/")
    dollars = Decimal(numerator) / Decimal(denominator or 1) / nano_per_usd
    if denominator:
        dollars = round(dollars, 12)
    return f"{dollars:f}".rstrip("0").rstrip(".") if dollars % 1 else f"{dollars:.0f}"


@app.command("import")
def import_prices() -> None:
    """Make the price data anew, and say what changed.

    From genai-prices, a development dependency.
    """
    from proxy.store.price_import import import_prices as import_them  # noqa: PLC0415 - see above

    sys.stdout.write(f"{import_them()}\n")
