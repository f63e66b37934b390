from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.pricing import TEXT_INPUT, Rates
from proxy.core.tariff import (
    FALLBACKS,
    PRICE_KEYS,
    REQUEST,
    Step,
    Tariff,
    dearest,
    decimal_text,
    tariff_from_keys,
)
from proxy.core.usage import BUCKETS, Usage

counts = st.integers(0, 3_000_000)
usages = st.builds(Usage, **dict.fromkeys(BUCKETS, counts))
# Dollars per million tokens with up to nine places, and prices that have no end as a decimal.
prices = st.one_of(
    st.decimals(0, 1000, places=9, allow_nan=False).map(lambda usd: Fraction(usd) * 1000),
    st.fractions(0, 10**6, max_denominator=3600),
)


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    above = draw(st.lists(st.integers(1, 2_000_000), max_size=2, unique=True))
    return tuple(Step(n, draw(prices)) for n in (0, *sorted(above)))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    what = draw(st.sets(st.sampled_from(BUCKETS)))
    priced = {bucket: draw(steps()) for bucket in what}
    if draw(st.booleans()):
        priced[REQUEST] = (Step(0, draw(prices)),)
    return Tariff(
        priced,
        minimum_ms=draw(st.sampled_from((0, 0, 10_000))),
        search_once=draw(st.booleans()),
    )


def exactly(tariff: Tariff, usage: Usage) -> Fraction:
    """A charge before rounding, the slow way: straight from what a tariff says."""
    own = tariff.steps

    def price(what: str) -> Fraction:
        source = next((b for b in (what, *FALLBACKS.get(what, ())) if b in own), None)
        reached = [
            s.nano for s in own.get(source or "", ()) if s.above < max(usage.input_tokens, 1)
        ]
        return reached[-1] if reached else Fraction(0)

    total = price(REQUEST)
    for bucket, count in usage.nonzero().items():
        billed = max(count, tariff.minimum_ms) if bucket == "milliseconds" else count
        if bucket == "searches" and tariff.search_once:
            billed = min(count, 1)
        total += billed * price(bucket)
    return total


# Charges


@given(tariffs(), usages)
def test_a_charge_is_exact_and_rounded_once_half_to_even(tariff: Tariff, usage: Usage) -> None:
    assert tariff.rates("test", "1").charge(usage).nano == round(exactly(tariff, usage))


@given(tariffs(), usages)
def test_the_lines_multiply_out_to_the_exact_sum(tariff: Tariff, usage: Usage) -> None:
    """Whoever has the row can work the charge out again."""
    lines = tariff.rates("test", "1").charge(usage).lines

    assert sum(line.quantity * Fraction(line.price_nano) for line in lines) == exactly(
        tariff, usage
    )


@given(tariffs(), usages)
def test_there_are_lines_for_what_costs_something_only(tariff: Tariff, usage: Usage) -> None:
    for what, quantity, price, _ in tariff.rates("test", "1").charge(usage).lines:
        assert quantity == 1 if what == "request" else quantity > 0
        assert Fraction(price) > 0


@given(tariffs())
def test_nothing_used_costs_the_request_alone(tariff: Tariff) -> None:
    charge = tariff.rates("test", "1").charge(Usage())

    assert charge.nano == round(exactly(Tariff({REQUEST: tariff.steps.get(REQUEST, ())}), Usage()))


def test_a_whole_request_is_priced_by_its_tier() -> None:
    """Long context is a cliff: one token more than the threshold reprices all of them. ``>``, not ``≥``."""
    rates = Tariff(
        {
            "input": (Step(0, Fraction(1_250)), Step(200_000, Fraction(2_500))),
            "output": (Step(0, Fraction(10_000)), Step(200_000, Fraction(15_000))),
        }
    ).rates("test", "1")

    at = rates.charge(Usage(input=150_000, cached_input=50_000, output=10))
    over = rates.charge(Usage(input=150_000, cached_input=50_001, output=10))

    assert at.nano == 200_000 * 1_250 + 10 * 10_000
    assert over.nano == 200_001 * 2_500 + 10 * 15_000


def test_a_tie_of_half_a_nano_dollar_goes_to_the_even_one() -> None:
    """$0.0005 per million tokens is half a nano-dollar a token."""
    rates = tariff_from_keys({"input_per_mtok": Decimal("0.0005")}).rates("test", "1")

    assert [rates.charge(Usage(input=n)).nano for n in (1, 2, 3, 5)] == [0, 1, 2, 2]


def test_sound_is_billed_for_the_least_time_where_a_provider_has_one() -> None:
    rates = Tariff({"milliseconds": (Step(0, Fraction(100)),)}, minimum_ms=10_000).rates(
        "test", "1"
    )

    assert rates.charge(Usage(milliseconds=1)).nano == 1_000_000
    assert rates.charge(Usage(milliseconds=10_001)).nano == 1_000_100
    assert rates.charge(Usage()).nano == 0


# Prices as they are written


@pytest.mark.parametrize(
    ("given_", "bucket", "expected"),
    [
        ({"input_per_mtok": "2.5"}, "cached_input", "2500"),
        ({"input_per_mtok": "2.5"}, "cache_write", "2500"),
        ({"input_per_mtok": "2.5"}, "cache_write_1h", "2500"),
        ({"input_per_mtok": "2.5", "cache_write_per_mtok": "3"}, "cache_write_1h", "3000"),
        ({"input_per_mtok": "2.5"}, "audio_input", "2500"),
        ({"input_per_mtok": "2.5"}, "image_input", "2500"),
        ({"input_per_mtok": "2.5", "cached_input_per_mtok": "1"}, "cached_image_input", "1000"),
        ({"input_per_mtok": "2.5", "audio_input_per_mtok": "40"}, "cached_audio_input", "40000"),
        ({"output_per_mtok": "10"}, "reasoning", "10000"),
        ({"output_per_mtok": "10"}, "audio_output", "10000"),
        ({"output_per_mtok": "10"}, "image_output", "10000"),
        ({"output_per_mtok": "10", "audio_output_per_mtok": "80"}, "audio_output", "80000"),
        ({"output_per_mtok": "10"}, "input", "0"),
        ({"input_per_mtok": "0.02"}, "output", "0"),
        ({"input_per_mtok": "0.00012345"}, "input", "0.12345"),
        ({"per_image": "0.04"}, "images", "40000000"),
        ({"per_second": "0.0001"}, "milliseconds", "100"),
        ({"per_mchar": "15"}, "characters", "15000"),
        ({"per_search": "0.01"}, "searches", "10000000"),
    ],
)
def test_what_is_absent_falls_back_to_the_plain_price(
    given_: Mapping[str, str], bucket: str, expected: str
) -> None:
    rates = tariff_from_keys({k: Decimal(v) for k, v in given_.items()}).rates("test", "1")

    assert rates.tiers[0].shown[BUCKETS.index(bucket)] == expected


def test_a_model_without_an_output_price_is_fine() -> None:
    """Embeddings have none."""
    rates = tariff_from_keys({"input_per_mtok": Decimal("0.02")}).rates("test", "1")

    assert rates.charge(Usage(input=1_000_000)).nano == 20_000_000


def test_a_request_can_have_a_price_of_its_own() -> None:
    rates = tariff_from_keys({"per_request": Decimal("0.005")}).rates("test", "1")

    assert rates.charge(Usage(input=5)).lines == (("request", 1, "5000000", ""),)
    assert rates.most_nano(5, 5) == 5_000_000


def test_every_price_key_leads_to_a_bucket() -> None:
    assert {bucket for bucket, _ in PRICE_KEYS.values()} <= {*BUCKETS, REQUEST}


@pytest.mark.parametrize(
    ("key", "usd"),
    [("input_per_token", "1"), ("input_per_mtok", "-1"), ("input_per_mtok", "NaN")],
)
def test_what_is_no_price_is_refused(key: str, usd: str) -> None:
    with pytest.raises(ValueError, match=key):
        tariff_from_keys({key: Decimal(usd)})


@given(prices)
def test_a_price_is_shown_exactly(price: Fraction) -> None:
    text = decimal_text(price)

    assert Fraction(text) == price
    assert "e" not in text.lower()


# Bounds


@st.composite
def within(draw: st.DrawFn) -> tuple[int, int, Usage]:
    """A bound, and a usage that keeps it: text in, anything out, any of the caches."""
    most_in, most_out = draw(counts), draw(counts)
    left, out = most_in, most_out
    used: dict[str, int] = {}
    for bucket in TEXT_INPUT:
        used[bucket] = draw(st.integers(0, left))
        left -= used[bucket]
    for bucket in ("output", "reasoning", "audio_output", "image_output"):
        used[bucket] = draw(st.integers(0, out))
        out -= used[bucket]
    return most_in, most_out, Usage(**used)


@given(tariffs(), within())
def test_no_charge_is_over_its_bound(tariff: Tariff, case: tuple[int, int, Usage]) -> None:
    """Whatever tier the request turns out to be in, and whatever the caches did."""
    most_in, most_out, usage = case
    rates = tariff.rates("test", "1")

    assert rates.charge(usage).nano <= rates.most_nano(most_in, most_out)


BESIDE = ("audio_input", "image_input", "images", "milliseconds", "characters", "searches")


@given(tariffs(), within(), st.builds(Usage, **dict.fromkeys(BESIDE, counts)))
def test_no_charge_is_over_its_bound_with_what_the_request_itself_counts(
    tariff: Tariff, case: tuple[int, int, Usage], beside: Usage
) -> None:
    most_in, most_out, usage = case
    rates = tariff.rates("test", "1")

    assert rates.charge(usage + beside).nano <= rates.most_nano(most_in, most_out, beside)


def test_a_bound_knows_that_a_lower_tier_ends() -> None:
    """Where long context is cheaper, no more tokens than fit the dear tier are counted at its price."""
    rates = Tariff({"input": (Step(0, Fraction(10)), Step(100, Fraction(1)))}).rates("test", "1")

    assert rates.most_nano(100, 0) == 1_000
    assert rates.most_nano(5_000, 0) == 5_000


@given(tariffs(), counts, counts)
def test_a_bound_grows_with_what_is_bounded(
    tariff: Tariff, tokens_in: int, tokens_out: int
) -> None:
    rates = tariff.rates("test", "1")

    assert rates.most_nano(tokens_in, tokens_out) <= rates.most_nano(tokens_in + 1, tokens_out + 1)


@given(st.lists(tariffs(), min_size=1, max_size=3), usages)
def test_the_dearest_of_several_is_no_less_than_any(several: list[Tariff], usage: Usage) -> None:
    most = dearest(several).rates("test", "1").charge(usage).nano

    assert all(t.rates("test", "1").charge(usage).nano <= most for t in several)


@given(tariffs(), usages, st.fractions(0, 10, max_denominator=1000))
def test_a_multiplier_scales_the_exact_sum(tariff: Tariff, usage: Usage, factor: Fraction) -> None:
    scaled = tariff.scaled(factor).rates("test", "1").charge(usage)

    assert scaled.nano == round(exactly(tariff, usage) * factor)


def test_rates_can_be_compared() -> None:
    """Two look-ups of the same price are the same price."""
    tariff = tariff_from_keys({"input_per_mtok": Decimal(1)})
    one: Rates = tariff.rates("test", "1")

    assert one == tariff.rates("test", "1")
