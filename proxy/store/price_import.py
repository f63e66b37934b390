"""Make the price data anew from genai-prices: ``farebox prices import``.

A development dependency: it is imported here only, and never needed to run. What it prices is
written out as data (price_data.py says how), so that a change of prices is a diff to be read.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from proxy.core.errors import ConfigurationError
from proxy.store.price_data import DATA_FILE, FORMAT, PriceData

_SOURCE = "genai-prices"

# A rule that genai-prices has in its code and not in its data: Groq bills at least ten seconds.
_MINIMUM_MS = {("groq", "whisper-large-v3"): 10_000, ("groq", "whisper-large-v3-turbo"): 10_000}

Lines = dict[tuple[str, str], bytes]  # by provider and model


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import changed, as ``provider/model``."""

    before: str  # version of the data that was replaced; "" where there was none
    after: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.before or 'nothing'} → {self.after}"]
        for sign, ids in (("+", self.added), ("-", self.removed), ("~", self.changed)):
            lines += [f"{sign} {name}" for name in ids]
        counts = (len(self.added), len(self.removed), len(self.changed))
        return "\n".join([*lines, "{} added, {} removed, {} changed".format(*counts)])


def import_prices(target: Path = DATA_FILE) -> ImportSummary:
    """Write the price data of the installed genai-prices to ``target``, and say what changed.

    Raises ConfigurationError where genai-prices is not installed.
    """
    try:
        providers = importlib.import_module("genai_prices.data").providers
    except ImportError as error:
        raise ConfigurationError(
            f"{_SOURCE} is not installed; it is needed to import prices, not to run: "
            f"pip install {_SOURCE}"
        ) from error
    old = target.read_bytes() if target.exists() else b""
    text = _document(f"{_SOURCE}-{version(_SOURCE)}", providers)
    after = PriceData(text).version
    temporary = target.with_name(f"{target.name}.new")
    temporary.write_bytes(text)
    temporary.replace(target)
    return _summary(old, text, after)


def _document(source: str, providers: list[Any]) -> bytes:
    lines = [orjson.dumps({"format": FORMAT, "source": source})]
    for provider in sorted(providers, key=lambda p: str(p.id)):
        lines.append(orjson.dumps(_provider_line(provider)))
        # The package tries models in the order of their ids, and so does PriceData.
        ids = [model.id for model in provider.models]
        if ids != sorted(set(ids)):
            raise ConfigurationError(f"{source}: the models of {provider.id} are out of order")
        lines += [orjson.dumps(_model_line(provider.id, model)) for model in provider.models]
    return b"\n".join([*lines, b""])


def _provider_line(provider: Any) -> dict[str, Any]:
    line = {"provider": provider.id, "api": provider.api_pattern}
    if provider.fallback_model_providers:
        line["fallback"] = provider.fallback_model_providers
    return line


def _model_line(provider: str, model: Any) -> dict[str, Any]:
    line = {"provider": provider, "id": model.id, "match": _clause(model.match)}
    prices = model.prices if isinstance(model.prices, list) else [model]
    line["prices"] = [_priced(price) for price in prices]
    if variants := [_priced(v) for v in model.price_variants or () if _usd(v.prices)]:
        line["variants"] = variants
    if model.context_window:
        line["context"] = model.context_window
    if minimum := _MINIMUM_MS.get((provider, model.id)):
        line["minimum_ms"] = minimum
    return line


def _clause(clause: Any) -> dict[str, Any]:
    ((kind, wanted),) = vars(clause).items()
    if kind in ("or_", "and_"):
        return {kind.rstrip("_"): [_clause(part) for part in wanted]}
    return {kind: wanted}


def _priced(priced: Any) -> dict[str, Any]:
    """A condition, a variant, or a model with one price: whatever has ``prices``."""
    line: dict[str, Any] = {}
    if when := getattr(priced, "when", None):
        line["when"] = when
    constraint = getattr(priced, "constraint", None)
    if constraint is not None and hasattr(constraint, "start_date"):
        line["from"] = constraint.start_date.isoformat()
    elif constraint is not None:
        line["daily"] = [_time(constraint.start_time), _time(constraint.end_time)]
    line["usd"] = _usd(priced.prices)
    return line


def _time(time: Any) -> str:
    if time.utcoffset():
        raise ConfigurationError(f"{_SOURCE}: {time} is not in UTC")
    return str(time.replace(tzinfo=None).isoformat("minutes"))


def _usd(prices: Any) -> dict[str, Any]:
    return {key: _amount(price) for key, price in sorted(vars(prices).items()) if price is not None}


def _amount(price: Any) -> str | dict[str, str]:
    if not hasattr(price, "tiers"):
        return f"{price:f}"
    steps = {0: price.base} | {tier.start: tier.price for tier in price.tiers}
    return {str(above): f"{steps[above]:f}" for above in sorted(steps)}


def _summary(old: bytes, new: bytes, after: str) -> ImportSummary:
    was, now = dict(_lines(old)), dict(_lines(new))
    return ImportSummary(
        before=PriceData(old).version if old else "",
        after=after,
        added=_names(now.keys() - was.keys()),
        removed=_names(was.keys() - now.keys()),
        changed=_names(key for key in was.keys() & now.keys() if was[key] != now[key]),
    )


def _lines(text: bytes) -> Iterator[tuple[tuple[str, str], bytes]]:
    for line in text.splitlines()[1:]:
        parsed: Mapping[str, Any] = orjson.loads(line)
        yield (parsed["provider"], parsed.get("id", "")), line


def _names(keys: Any) -> tuple[str, ...]:
    return tuple("/".join(part for part in key if part) for key in sorted(keys))
