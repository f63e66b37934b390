import time
from pathlib import Path

import orjson
import pytest

from proxy.gateway.presets import PRESETS
from proxy.store.price_data import ALIASES, DATA_FILE, PriceData


@pytest.fixture(scope="module")
def data() -> PriceData:
    return PriceData.load()


@pytest.fixture(scope="module")
def imported() -> PriceData:
    """Without the supplement."""
    return PriceData.load(supplement=None)


# The committed file


def test_every_line_can_be_used(imported: PriceData) -> None:
    """No clause, date or amount in the file is one that we don't understand."""
    models = [model for provider in imported.providers for model in imported.models(provider)]

    assert len(models) == len(DATA_FILE.read_bytes().splitlines()) - 1 - len(imported.providers)
    assert all(model.prices for model in models)


def test_the_file_is_in_order() -> None:
    """Sorted by provider and model, so that an import's diff shows what changed and nothing else."""
    lines = [orjson.loads(line) for line in DATA_FILE.read_bytes().splitlines()[1:]]
    keys = [(line["provider"], line.get("id", "")) for line in lines]

    assert keys == sorted(set(keys))


def test_the_file_is_small_and_quick_to_open() -> None:
    """It is opened at every start, and each provider parsed on its first use only."""
    started = time.process_time()
    PriceData.load()

    assert time.process_time() - started < 0.05
    assert DATA_FILE.stat().st_size < 3_000_000


def test_the_version_names_the_source_and_the_content(imported: PriceData) -> None:
    source, _, digest = imported.version.partition("+")
    text = DATA_FILE.read_bytes()

    assert source.startswith("genai-prices-")
    assert len(digest) == 8
    assert PriceData(text.replace(b'"2.5"', b'"2.6"', 1)).version != imported.version


def test_the_version_is_of_what_is_priced_alone(imported: PriceData) -> None:
    head, _, body = DATA_FILE.read_bytes().partition(b"\n")
    remarked = orjson.dumps(orjson.loads(head) | {"remark": "checked"})

    assert PriceData(remarked + b"\n" + body).version == imported.version


def test_every_preset_with_list_prices_is_in_the_data_or_known_not_to_be(data: PriceData) -> None:
    """A provider's name that we spell differently would leave all its calls unpriced."""
    missing = {
        p.provider for p in PRESETS.values() if p.provider and not data.provider_id(p.provider)
    }

    assert missing <= {"qianfan", "hunyuan"}  # none of these is in the sources


def test_every_alias_leads_to_a_provider(data: PriceData) -> None:
    assert set(ALIASES.values()) <= set(data.providers)


# Finding


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o", ("openai", "gpt-4o", True)),
        ("openai", "GPT-4o-2024-08-06", ("openai", "gpt-4o", True)),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", ("openai", "ft:gpt-4o-mini", True)),
        ("openai", "ft:gpt-4.1-2025-04-14:acme::abc", ("openai", "ft:gpt-4.1", True)),
        ("openai", "gpt-5.4-2027-01-01", ("openai", "gpt-5.4", False)),
        ("azure", "gpt-4o-2024-08-06", ("openai", "gpt-4o", True)),
        ("azure", "o1", ("azure", "o1", True)),
        ("google", "models/gemini-2.5-pro", ("google", "gemini-2.5-pro", True)),
        ("vertex", "claude-3-haiku@20240307", ("google", "claude-3-haiku", True)),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("aws", "regional.anthropic.claude-sonnet-4-5-20250929-v1:0", True)),
        ("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", True)),
        ("xai", "grok-4-0709", ("x-ai", "grok-4-0709", True)),
        ("z-ai", "glm-4.6", ("zai", "GLM-4.6", True)),
        ("groq", "openai/gpt-oss-20b", ("groq", "openai/gpt-oss-20b", True)),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", True)),
    ],
)  # fmt: skip
def test_models_are_found_by_the_names_that_answers_give(
    data: PriceData, provider: str, model: str, expected: tuple[str, str, bool]
) -> None:
    found = data.find(provider, model)

    assert found is not None
    assert (found.model.provider, found.model.id, found.exact) == expected


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "ft:gpt-5-2025-08-07:acme::abc"),  # dearer than its base, and not listed
        ("openai", "qwen3-8b"),
        ("nobody", "gpt-4o"),
        ("", "gpt-4o"),  # one's own server
        ("openai-compatible", "gpt-4o"),
    ],
)
def test_what_is_not_in_the_data_is_not_guessed(data: PriceData, provider: str, model: str) -> None:
    assert data.find(provider, model) is None


# Files that are none


@pytest.mark.parametrize("text", [b"", b"[]\n", b'{"format":2,"source":"x"}\n', b"<html>"])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "prices.jsonl"
    path.write_bytes(text)

    with pytest.raises(ValueError, match=r"prices\.jsonl"):
        PriceData.load(path)
