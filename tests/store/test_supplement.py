"""The prices that the imported data lacks, rule by rule, as a call would be charged."""

import re
from datetime import date
from typing import Any

import orjson
import pytest

from proxy.core.pricing import PriceQuery
from proxy.core.usage import Usage
from proxy.store.price_data import SUPPLEMENT_FILE, PriceData
from proxy.store.price_match import matcher
from proxy.store.pricebook import LayeredPriceBook
from tests.store.price_samples import NOW

M = 1_000_000
DOLLAR = 1_000_000_000
Case = tuple[str, str, tuple[str, ...], Usage, float]


@pytest.fixture(scope="module")
def book() -> LayeredPriceBook:
    return LayeredPriceBook((), PriceData.load())


def charged(
    book: LayeredPriceBook, provider: str, model: str, variants: tuple[str, ...], usage: Usage
) -> int:
    rates = book.rates(PriceQuery("any", provider, model, variants), NOW)
    assert rates is not None
    assert "!" not in rates.version  # every variant is one that the data knows
    return rates.charge(usage).nano


INPUT, OUTPUT = Usage(input=M // 10), Usage(output=M // 10)  # below every long-context price

SURCHARGES: list[Case] = [
    # OpenAI's regional hosts, for the models that they cost more for
    ("openai", "gpt-5.4", ("eu",), INPUT, 0.275),
    ("openai", "gpt-5.4-2026-03-05", ("us",), OUTPUT, 1.65),
    ("openai", "gpt-4o", ("eu",), INPUT, 0.25),
    ("openai", "gpt-5.4", ("flex", "eu"), INPUT, 0.1375),
    ("openai", "gpt-5.4", ("eu",), Usage(searches=3), 0.03),  # a tool's fee is no token
    # Anthropic's inference in one country
    ("anthropic", "claude-opus-5", ("us",), INPUT, 0.55),
    ("anthropic", "claude-opus-5", ("global",), INPUT, 0.5),
    ("anthropic", "claude-sonnet-4-5", ("not_available",), INPUT, 0.3),
    ("anthropic", "claude-opus-5", ("us", "fast"), OUTPUT, 5.5),
    ("anthropic", "claude-opus-5", ("batch", "us"), Usage(cache_write_1h=M), 5.5),
    ("anthropic", "claude-opus-5", ("us",), Usage(searches=1), 0.01),
    # Vertex outside of its global place
    ("vertex", "claude-sonnet-4-5@20250929", ("regional",), INPUT, 0.33),
    ("vertex", "gemini-3.5-flash", ("regional",), INPUT, 0.165),
    ("vertex", "gemini-2.5-flash", ("regional",), INPUT, 0.03),
    # Bedrock's regional profiles have prices of their own in the imported data
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", (), INPUT, 0.33),
    ("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", (), INPUT, 0.3),
    ("bedrock", "amazon.nova-pro-v1:0", ("priority",), INPUT, 0.14),
    ("bedrock", "amazon.nova-pro-v1:0", ("flex",), OUTPUT, 0.16),
    # Azure's data zones and regions
    ("azure", "gpt-4o-2024-08-06", ("us",), INPUT, 0.275),
    ("azure", "gpt-6-sol", ("eu",), INPUT, 0.24),
    ("azure", "gpt-4o-mini", ("regional",), OUTPUT, 0.066),
]  # fmt: skip

TIERS: list[Case] = [
    ("openai", "gpt-5.4", ("flex",), OUTPUT, 0.75),
    ("openai", "gpt-5.4", ("priority",), OUTPUT, 3.0),
    ("openai", "gpt-5.4", ("fast",), OUTPUT, 3.0),
    ("openai", "gpt-6-astra", ("ultrafast",), OUTPUT, 30.0),
    ("openai", "gpt-4o", ("batch",), INPUT, 0.125),
    ("openai", "gpt-4o", ("batch",), Usage(cached_input=M), 1.25),  # not discounted again
    ("anthropic", "claude-sonnet-4-5", ("batch",), Usage(cached_input=M // 10), 0.015),
    ("google", "gemini-2.5-pro", ("batch",), Usage(cached_input=M // 10), 0.0125),
    ("google", "gemini-3.5-flash", ("ON_DEMAND_PRIORITY",), INPUT, 0.27),
    ("voyage", "voyage-3.5", ("batch",), Usage(input=1_000_000), 0.0402),
    ("groq", "whisper-large-v3", ("batch",), Usage(milliseconds=3_600_000), 0.0555),
]  # fmt: skip

LONG: list[Case] = [
    # The whole request, cached tokens among it, and only where it is longer than that
    ("openai", "gpt-5.4", (), Usage(input=200_000, cached_input=72_000), 0.518),
    ("openai", "gpt-5.4", (), Usage(input=200_000, cached_input=72_001), 1.0360005),
    ("openai", "gpt-5.4", ("priority",), Usage(input=300_000), 1.5),  # has none
    ("google", "gemini-2.5-pro", (), Usage(input=200_001), 0.5000025),
    ("anthropic", "claude-haiku-5-5", (), Usage(input=100_001), 0.0500005),
    ("dashscope", "qwen3-max", (), Usage(input=32_001), 0.0768024),
]  # fmt: skip

BESIDE: list[Case] = [
    ("openai", "dall-e-3", (), Usage(images=1), 0.04),
    ("openai", "dall-e-3", ("standard", "1024x1024"), Usage(images=2), 0.08),
    ("openai", "dall-e-3", ("hd", "1024x1024"), Usage(images=1), 0.08),
    ("openai", "dall-e-3", ("standard", "1792x1024"), Usage(images=1), 0.08),
    ("openai", "dall-e-3", ("hd", "1024x1792"), Usage(images=1), 0.12),
    ("openai", "dall-e-2", ("256x256",), Usage(images=10), 0.16),
    ("openai", "gpt-image-1", (), Usage(input=100, image_input=1_000, image_output=4_160), 0.1769),
    ("google", "imagen-4.0-generate-001", (), Usage(images=4), 0.16),
    ("google", "imagen-4.0-ultra-generate-001", (), Usage(images=1), 0.06),
    ("xai", "grok-imagine-image", (), Usage(images=1), 0.02),
    ("openai", "whisper-1", (), Usage(milliseconds=60_000), 0.006),
    ("groq", "whisper-large-v3-turbo", (), Usage(milliseconds=1_000), 0.000111111),
    ("openai", "tts-1", (), Usage(characters=1_000), 0.015),
    ("openai", "tts-1-hd", (), Usage(characters=1_000), 0.03),
    ("openai", "gpt-4o-audio-preview", (), Usage(audio_input=1_000, audio_output=1_000), 0.12),
    ("openai", "gpt-4o-audio-preview-2024-10-01", (), Usage(audio_input=1_000), 0.1),
    ("openai", "gpt-4o-mini-audio-preview", (), Usage(audio_output=1_000), 0.02),
    ("mistral", "mistral-ocr-2512", (), Usage(pages=1_000), 2.0),
    ("mistral", "mistral-ocr-2512", ("annotated",), Usage(pages=1_000), 3.0),
    ("openai", "omni-moderation-latest", (), Usage(input=10_000), 0.0),
    ("openai", "text-embedding-3-small", (), Usage(input=M), 0.02),
    ("cohere", "embed-english-v3.0", (), Usage(input=M), 0.1),
    ("voyage", "rerank-2.5", (), Usage(input=M), 0.05),
    ("openai", "ft:gpt-4.1-2025-04-14:acme::abc", (), Usage(input=M, cached_input=M), 3.75),
    ("openai", "ft:gpt-4.1-mini-2025-04-14:acme::abc", ("batch",), OUTPUT, 0.16),
    ("openai", "ft:gpt-4o-2024-08-06:acme::abc", (), Usage(cached_input=M), 1.875),
    ("openai", "ft:o4-mini-2025-04-16:acme::abc", (), OUTPUT, 1.6),
    ("ark", "doubao-seed-2-0-pro-260215", (), Usage(input=10_000), 0.0046),
]  # fmt: skip

FEES: list[Case] = [
    ("openai", "gpt-5", (), Usage(searches=3), 0.03),
    ("openai", "gpt-5", ("web_search_preview",), Usage(searches=3), 0.03),
    ("openai", "gpt-4.1", ("web_search_preview",), Usage(searches=1), 0.025),
    ("openai", "gpt-4o-search-preview", (), Usage(), 0.025),  # each request searches
    ("openai", "gpt-4o-mini-search-preview-2025-03-11", (), Usage(), 0.025),
    ("openai", "gpt-4.1-nano", (), Usage(file_searches=4), 0.01),
    ("openai", "gpt-5-mini", (), Usage(containers=2), 0.06),
    ("azure", "gpt-4o", (), Usage(containers=1, file_searches=2), 0.038),
    ("anthropic", "claude-sonnet-4-5", (), Usage(searches=2), 0.02),
    ("google", "gemini-2.5-flash", (), Usage(searches=3), 0.035),  # by the prompt
    ("google", "gemini-2.5-flash", (), Usage(), 0.0),
    ("google", "gemini-3-flash-preview", (), Usage(searches=3), 0.042),  # by the query
    ("xai", "grok-4.3", (), Usage(searches=2), 0.01),
    ("perplexity", "sonar", (), Usage(), 0.005),
    ("perplexity", "sonar", ("high",), Usage(), 0.012),
    ("perplexity", "sonar-pro", ("medium",), Usage(), 0.01),
    ("cohere", "rerank-v3.5", (), Usage(searches=1), 0.002),
    ("cohere", "rerank-v4.0-pro", (), Usage(searches=2), 0.005),
]  # fmt: skip

PROVISIONED: list[Case] = [
    ("vertex", "gemini-2.5-pro", ("PROVISIONED_THROUGHPUT",), INPUT, 0.0),
    ("vertex", "a-model-of-our-own", ("PROVISIONED_THROUGHPUT",), INPUT, 0.0),
    ("openai", "gpt-4o", ("scale",), INPUT, 0.0),
    ("bedrock", "amazon.nova-pro-v1:0", ("reserved",), OUTPUT, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [*SURCHARGES, *TIERS, *LONG, *BESIDE, *FEES, *PROVISIONED], ids=str
)
def test_a_call_costs_what_its_provider_asks(book: LayeredPriceBook, case: Case) -> None:
    """By model, variants and usage, in dollars."""
    provider, model, variants, usage, dollars = case

    assert charged(book, provider, model, variants, usage) == round(dollars * DOLLAR)


def test_a_bound_grows_by_every_surcharge_that_the_request_leaves_open(
    book: LayeredPriceBook,
) -> None:
    """Where inference happens is the workspace's default where a request does not say it; so is a size."""
    anthropic = book.bound(PriceQuery("any", "anthropic", "claude-opus-5"), NOW)
    here = book.bound(PriceQuery("any", "anthropic", "claude-opus-5", ("us",)), NOW)
    elsewhere = book.bound(PriceQuery("any", "anthropic", "claude-opus-5", ("global",)), NOW)
    sonar = book.bound(PriceQuery("any", "perplexity", "sonar"), NOW)

    assert anthropic is not None
    assert here is not None
    assert elsewhere is not None
    assert sonar is not None
    assert anthropic.charge(OUTPUT).nano == here.charge(OUTPUT).nano == 2.75 * DOLLAR
    assert elsewhere.charge(OUTPUT).nano == 2.5 * DOLLAR
    assert sonar.charge(Usage()).nano == 0.012 * DOLLAR


# The file itself


def lines() -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in SUPPLEMENT_FILE.read_bytes().splitlines()[1:]]


def test_every_line_of_the_supplement_says_where_it_is_from_and_when() -> None:
    for line in lines():
        if "id" in line or "amend" in line:
            assert line["source"].startswith("https://"), line
            assert date.fromisoformat(line["checked"]) <= date(2026, 12, 31)


def test_every_amendment_concerns_some_model() -> None:
    """A clause that matches nothing is a typing error."""
    data = PriceData.load()
    for line in lines():
        if line.get("amend"):
            clause = matcher(line["amend"])
            provider = line["provider"]
            sellers = {provider, *data._providers[provider]}
            ids = [model.id.lower() for seller in sellers for model in data.models(seller)]

            assert any(map(clause, ids)), line


def test_the_supplement_says_its_version_beside_that_of_the_import() -> None:
    assert re.fullmatch(
        r"genai-prices-[\d.]+\+[0-9a-f]{8}&supplement-\d{4}-\d\d-\d\d\+[0-9a-f]{8}",
        PriceData.load().version,
    )


def test_a_model_of_the_supplement_replaces_the_one_of_the_same_id() -> None:
    ids = [model.id for model in PriceData.load().models("openai")]

    assert len(ids) == len(set(ids))
    assert "dall-e-3" in ids


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("text-embedding-005", Usage(input=300, characters=M), 0.025),
        ("gemini-embedding-001", Usage(input=M, characters=5 * M), 0.15),
        ("multimodalembedding@001", Usage(characters=M, images=1_000), 0.3),
        ("imagen-4.0-generate-001", Usage(images=3), 0.12),
    ],
)
def test_what_is_asked_by_predict_has_one_price(
    book: LayeredPriceBook, model: str, usage: Usage, usd: float
) -> None:
    """By characters or by tokens, never both."""
    assert charged(book, "vertex", model, ("regional",), usage) == round(usd * DOLLAR)


@pytest.mark.parametrize("model", ["openai.gpt-oss-20b", "openai.gpt-oss-120b"])
def test_bedrocks_other_endpoint_names_models_without_their_version(
    book: LayeredPriceBook, model: str
) -> None:
    """At the same price."""
    named = (PriceQuery("aws", "aws", name) for name in (model, f"{model}-1:0"))
    short, long = (book.rates(query, NOW) for query in named)

    assert short is not None
    assert long is not None
    assert short.charge(OUTPUT) == long.charge(OUTPUT)
