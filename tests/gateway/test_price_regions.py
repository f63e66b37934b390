"""What a provider's address says about prices."""

import pytest

from proxy.gateway.presets import price_variants


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
