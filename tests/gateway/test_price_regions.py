"""What a provider's address says about prices."""

import pytest

from proxy.gateway.presets import price_variants, provider_of


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.openai.com", ()),
        ("us.api.openai.com", ("us",)),
        ("EU.api.openai.com", ("eu",)),
        ("us.api.openai.com.example.org", ()),
        ("aiplatform.googleapis.com", ()),
        ("us-central1-aiplatform.googleapis.com", ("regional",)),
        ("aiplatform.eu.rep.googleapis.com", ("regional",)),
        ("generativelanguage.googleapis.com", ()),
        ("127.0.0.1", ()),
    ],
)
def test_a_region_is_known_by_its_host(host: str, expected: tuple[str, ...]) -> None:
    assert price_variants(host) == expected


@pytest.mark.parametrize(
    ("upstream", "preset", "host", "expected"),
    [
        ("main", None, "api.mistral.ai", "mistral"),  # the address says it
        ("openai", "vllm", "127.0.0.1", ""),  # the preset outranks the name
        ("openai", None, "api.mistral.ai", "mistral"),  # so does the address
        ("openai", None, "egress.internal", "openai"),
        ("OpenAI-eu", None, "egress.internal", "openai"),
        ("xai", None, "egress.internal", "x-ai"),
        ("vllm-2", None, "127.0.0.1", ""),  # has no list prices
        ("openairport", None, "127.0.0.1", ""),
        ("local", None, "127.0.0.1", ""),
    ],
)
def test_an_upstream_at_an_unknown_address_has_the_prices_of_whom_it_is_called_after(
    upstream: str, preset: str | None, host: str, expected: str
) -> None:
    assert provider_of(upstream, preset, host) == expected
