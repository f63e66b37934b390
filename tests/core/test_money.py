from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.money import MOST_NANO, nano_from_usd, round_half_even, usd

amounts = st.integers(-MOST_NANO, MOST_NANO)


@given(amounts)
def test_an_amount_survives_being_written_and_read(nano: int) -> None:
    """What ``usd`` writes, ``nano_from_usd`` reads back to the nano-dollar."""
    assert nano_from_usd(usd(nano)) == nano


@given(amounts)
def test_an_amount_is_written_exactly(nano: int) -> None:
    """The decimal text is the amount, without exponent, with two places at least."""
    text = usd(nano)

    assert Fraction(text) == Fraction(nano, 10**9)
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("500", 500_000_000_000),
        (0.1, 100_000_000),
        ("0.000000001", 1),
        (Decimal("-0.42"), -420_000_000),
        ("1e-9", 1),
        ("0e999999999", 0),
        ("0.10000000000000000", 100_000_000),
        (7, 7_000_000_000),
    ],
)
def test_an_amount_is_read_as_it_is_written(amount: str | float | Decimal, expected: int) -> None:
    assert nano_from_usd(amount) == expected


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "ten",
        "NaN",
        "inf",
        "-Infinity",
        "0.0000000001",
        "1e-999999999",
        "1e999999999",
        "1e10",
        "9223372036.854775808",
        True,
        # Decimal's own arithmetic would round this to something that fits.
        "123456789.1234567890000000000000000001",
    ],
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """Nothing is rounded silently, overflows the ledger, or takes forever."""
    with pytest.raises(ValueError, match=r"not an amount|finer than|more than the ledger"):
        nano_from_usd(amount)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_rounding_is_half_to_even(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**12), 10**12))
def test_ties_go_to_the_even_number(whole: int) -> None:
    assert round_half_even(2 * whole + 1, 2) % 2 == 0
