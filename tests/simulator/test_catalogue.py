"""The simulator's own price list."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator import catalogue
from proxy.simulator.catalogue import ON_OFFER, Model, Rate

RATE = Rate(Decimal("2.50"), Decimal("1.25"), Decimal("10.00"))


def test_an_amount_by_hand() -> None:
    """1,000 prompt tokens with 400 cached and 50 of completion: 1.5 + 0.5 + 0.5 thousandths of a dollar."""
    assert RATE.nano(prompt=1000, cached=400, completion=50) == 2_500_000


@pytest.mark.parametrize(("prompt", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_rounds_half_to_even(prompt: int, expected: int) -> None:
    """Half a nano-dollar a token: 0.5, 1.5, 2.5 and 3.5 go to the even neighbour."""
    rate = Rate(Decimal("0.0005"), Decimal(0), Decimal(0))

    assert expected == rate.nano(prompt=prompt, cached=0, completion=0)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_cached_tokens_are_not_billed_twice(fresh: int, cached: int) -> None:
    parts = RATE.nano(prompt=fresh, cached=0, completion=0) + RATE.nano(
        prompt=cached, cached=cached, completion=0
    )

    assert parts == RATE.nano(prompt=fresh + cached, cached=cached, completion=0)


@pytest.mark.parametrize("model", ON_OFFER, ids=lambda m: m.name)
def test_equals_the_public_list(model: Model) -> None:
    """Each price of each tier is the one that genai-prices has."""
    pytest.importorskip("genai_prices")

    for tier, rate in model.rates.items():
        for prompt, cached, completion in ((100_000, 0, 0), (100_000, 100_000, 0), (0, 0, 100_000)):
            if model.embeds and (cached or completion):
                continue
            listed = _listed(model.served, tier, prompt, cached, completion)

            ours = rate.nano(prompt=prompt, cached=cached, completion=completion)
            assert listed * 10**9 == ours, (tier, prompt, cached, completion)


def _listed(model: str, tier: str, prompt: int, cached: int, completion: int) -> Decimal:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - only where it is installed

    usage = Usage(input_tokens=prompt, cache_read_tokens=cached or None, output_tokens=completion)
    context: Any = {"service_tier": tier}
    total: Decimal = calc_price(
        usage,
        model_ref=model,
        provider_id="openai",
        genai_request_timestamp=datetime(2026, 11, 1, tzinfo=UTC),
        price_context=context,
    ).total_price
    return total


def test_a_snapshot_is_served_under_its_own_name() -> None:
    by_alias, by_snapshot = catalogue.find("gpt-4o"), catalogue.find("gpt-4o-2024-08-06")

    assert by_alias is by_snapshot is not None
    assert by_snapshot.served == "gpt-4o-2024-08-06"


def test_a_tier_that_is_not_on_offer_is_served_as_default() -> None:
    model = catalogue.find("gpt-4o")

    assert model is not None
    assert [model.tier(asked) for asked in ("priority", "flex", "auto", None)] == [
        "priority",
        "default",
        "default",
        "default",
    ]
