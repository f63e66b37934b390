"""``farebox prices``: what models cost, and where that is known from."""

import sys
import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.session import ConfigOption, load, use_config
from proxy.cli.spans import moment
from proxy.core.errors import FareboxError

if TYPE_CHECKING:
    from proxy.core.pricing import Rates
    from proxy.settings import Settings
    from proxy.store.price_data import PriceData

app = typer.Typer(help="What models cost.", no_args_is_help=True)
_SHOWN = {
    "input_per_mtok": "input",
    "cached_input_per_mtok": "cached_input",
    "cache_write_per_mtok": "cache_write",
    "output_per_mtok": "output",
    "reasoning_per_mtok": "reasoning",
}
_COLUMNS = [
    Column("provider"),
    Column("model"),
    Column("above_input_tokens", "above", number=True),
    *(
        Column(name, name.replace("_per_mtok", " $/M").replace("_", " "), number=True)
        for name in _SHOWN
    ),
    Column("per_request", number=True),
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
    """Show what a model costs: the configuration's prices first, then the price data."""
    use_config(config)
    settings, _ = load()
    at_us = time.time_ns() // 1000 if at is None else round(at.timestamp() * 1_000_000)
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
        rates = book.rates(PriceQuery(upstream or provider, provider, name), at_us)
        if rates is not None:
            rows += _rows(provider, name, rates)
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


def _rows(provider: str, model: str, rates: "Rates") -> list[dict[str, Any]]:
    from proxy.core.usage import BUCKETS  # noqa: PLC0415 - slow; ``--help`` does without

    rows = []
    for tier in reversed(rates.tiers):
        nano = dict(zip(BUCKETS, tier.shown, strict=True))
        rows.append(
            {
                "provider": provider,
                "model": model,
                "above_input_tokens": tier.above or None,
                **{name: _per_million(nano[bucket]) for name, bucket in _SHOWN.items()},
                "per_request": _usd(rates.per_request_shown, 1),
                "source": f"{rates.source} {rates.version}",
            }
        )
    return rows


def _per_million(nano: str) -> str:
    return _usd(nano, 1_000_000)


def _usd(nano: str, units: int) -> str:
    """A price in nano-dollars (a decimal or a fraction) as dollars for so many units."""
    numerator, _, denominator = nano.partition("/")
    dollars = Decimal(numerator) * units / Decimal(denominator or 1) / 1_000_000_000
    return f"{dollars:f}".rstrip("0").rstrip(".") if dollars % 1 else f"{dollars:.0f}"


@app.command("import")
def import_prices() -> None:
    """Make the price data anew from genai-prices, a development dependency, and say what changed."""
    from proxy.store.price_import import import_prices as import_them  # noqa: PLC0415 - see above

    sys.stdout.write(f"{import_them()}\n")
