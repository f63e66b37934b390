"""The committed data against the package it comes from: same models, same arithmetic, to the nano-dollar."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from proxy.core.errors import ConfigurationError
from proxy.core.pricing import PriceQuery
from proxy.core.usage import Usage
from proxy.store.price_data import DATA_FILE, PriceData
from proxy.store.price_import import import_prices
from proxy.store.pricebook import LayeredPriceBook

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 22, 2, tzinfo=UTC)  # another time of day for DeepSeek
BEFORE = datetime(2026, 7, 1, 12, tzinfo=UTC)  # before many prices changed
CONTEXTS: tuple[dict[str, str], ...] = (
    {},
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"processing": "batch"},
)
FAST: dict[str, tuple[dict[str, str], ...]] = {
    "anthropic": ({"speed": "fast"},),
    "openai": ({"service_tier": "fast"},),
}


@pytest.fixture(scope="module")
def providers() -> list[Any]:
    found: list[Any] = pytest.importorskip("genai_prices.data").providers
    return found


def a_usage(random: Random) -> Usage:
    """Text and caches, in sizes on both sides of every threshold."""
    size = random.choice((100, 30_000, 150_000, 250_000, 300_000))
    return Usage(
        input=random.randint(0, size),
        cached_input=random.randint(0, size),
        cache_write=random.randint(0, size // 10),
        cache_write_1h=random.randint(0, size // 10),
        output=random.randint(0, size),
        reasoning=random.randint(0, size),
    )


def theirs(
    model: Any, provider: Any, usage: Usage, at: datetime, context: dict[str, str]
) -> Fraction:
    from genai_prices.types import Usage as TheirUsage  # noqa: PLC0415 - needs the optional package

    said = TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning,
        input_audio_tokens=0, input_image_tokens=0, input_video_tokens=0,
        output_audio_tokens=0, output_image_tokens=0, output_video_tokens=0,
        output_citation_tokens=0, cache_audio_read_tokens=0, cache_image_read_tokens=0,
        web_searches=0, storage_searches=0, audio_seconds=0, input_audio_seconds=0,
        input_characters=0, input_document_pages=0, input_annotated_document_pages=0,
        input_text_messages=0,
    )  # fmt: skip
    price = model.calc_price(said, provider, genai_request_timestamp=at, price_context=context)
    return Fraction(price.total_price) * 10**9


def test_every_model_costs_what_the_package_says(providers: list[Any]) -> None:
    """Over all models, contexts, dates, times of day and tiers: the same charge, to the nano-dollar."""
    book = LayeredPriceBook((), PriceData.load(supplement=None))
    random = Random(20261122)
    wrong = []
    for provider in providers:
        for model in provider.models:
            at = random.choice((NOON, NIGHT, BEFORE))
            # A fast answer is a speed at Anthropic and a tier at OpenAI; an answer just says "fast".
            context = random.choice(CONTEXTS + FAST.get(provider.id, ()))
            usage = a_usage(random)
            query = PriceQuery("any", provider.id, _name(model), tuple(context.values()))
            rates = book.rates(query, int(at.timestamp()) * 1_000_000)
            first = next(m for m in provider.models if m.is_match(_name(model)))
            expected = theirs(first, provider, usage, at, context)
            if rates is None or rates.charge(usage).nano != round(expected):
                wrong.append((provider.id, model.id, context, rates, float(expected)))

    assert wrong[:3] == []


def _name(model: Any) -> str:
    """A name that the model goes by: its id is not always one."""
    name: str = model.id
    if model.is_match(name):
        return name
    clause = model.match
    while not hasattr(clause, "equals"):
        parts = getattr(clause, "or_", None) or getattr(clause, "and_", None)
        if not parts:
            return str(next(iter(vars(clause).values())))
        clause = parts[0]
    return str(clause.equals)


def test_an_import_writes_the_committed_file(providers: list[Any], tmp_path: Path) -> None:
    """The same package gives the same bytes, so that nothing else can be in the file."""
    assert providers
    target = tmp_path / "prices.jsonl"

    summary = import_prices(target)

    assert target.read_bytes() == DATA_FILE.read_bytes()
    assert (summary.before, summary.after) == ("", PriceData.load(supplement=None).version)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prices.jsonl"]


def test_an_import_says_what_it_changed(providers: list[Any], tmp_path: Path) -> None:
    assert providers
    target = tmp_path / "prices.jsonl"
    lines = DATA_FILE.read_bytes().splitlines(keepends=True)
    gone = next(line for line in lines if b'"id":"gpt-4o"' in line and b'"openai"' in line[:24])
    dearer = next(line for line in lines if b'"id":"gpt-4.1"' in line and b'"openai"' in line[:24])
    text = DATA_FILE.read_bytes().replace(gone, b"").replace(dearer, dearer.replace(b'"2"', b'"3"'))
    retired = b'{"provider":"zhipuai","id":"zzz","match":{"equals":"zzz"},"prices":[{"usd":{}}]}\n'
    target.write_bytes(text + retired)

    summary = import_prices(target)

    assert summary.added == ("openai/gpt-4o",)
    assert summary.removed == ("zhipuai/zzz",)
    assert summary.changed == ("openai/gpt-4.1",)
    assert str(summary).splitlines()[1:] == [
        "+ openai/gpt-4o",
        "- zhipuai/zzz",
        "~ openai/gpt-4.1",
        "1 added, 1 removed, 1 changed",
    ]


def test_prices_keep_every_digit(providers: list[Any]) -> None:
    """Text all the way: no price passes through a float."""
    gpt = next(
        m for p in providers if p.id == "deepseek" for m in p.models if m.id == "deepseek-v4-pro"
    )
    found = PriceData.load().find("deepseek", "deepseek-v4-pro")

    assert found is not None
    ours = [Decimal(price["usd"]["cache_read_mtok"]) for price in found.model.prices]
    assert ours == [price.prices.cache_read_mtok for price in gpt.prices]


def test_without_the_package_an_import_explains_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    target = tmp_path / "prices.jsonl"

    with pytest.raises(ConfigurationError, match="pip install genai-prices"):
        import_prices(target)

    assert not target.exists()
