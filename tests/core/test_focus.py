"""Charges as rows of FOCUS 1.2."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.focus import COLUMNS, Charged, FocusDays, Meter, Row, usd_of
from proxy.core.money import NANO_PER_USD, round_half_even
from proxy.core.pricing import ChargeLine

BASE = Meter(20_782, "acme", "search", "search-prod", "nightly", "openai", "gpt-5-mini",
             "chat.completions", "", "", "pricebook")  # fmt: skip


def rows_of(*charged: Charged) -> list[Row]:
    days = FocusDays()
    rows = [row for one in charged for row in days.add(one)]
    return [*rows, *days.finish()]


def billed(rows: list[Row]) -> int:
    """What the rows come to, in nano-dollars."""
    return int(sum(Decimal(str(row["BilledCost"])) for row in rows) * NANO_PER_USD)


def test_a_line_of_a_charge_is_a_row() -> None:
    """With what was consumed, at which price, by whom."""
    lines = (ChargeLine("input", 1000, "250"), ChargeLine("output", 70, "2000"))
    rows = rows_of(Charged(BASE, 390_000, 390_000, lines))

    assert [row["SkuMeter"] for row in rows] == ["input", "output"]
    first = rows[0]
    assert list(first) == list(COLUMNS)
    assert (first["BilledCost"], first["ConsumedQuantity"], first["ConsumedUnit"]) == (
        "0.00025",
        "1000",
        "Tokens",
    )
    assert (first["ContractedUnitPrice"], first["ListCost"]) == ("0.00000025", "0.00025")
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == (
        "2026-11-25T00:00:00Z",
        "2026-11-26T00:00:00Z",
    )
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    )
    assert (first["SubAccountId"], first["ResourceId"], first["ServiceCategory"]) == (
        "search",
        "gpt-5-mini",
        "AI and Machine Learning",
    )
    assert first["ChargeClass"] is None


@pytest.mark.parametrize(
    ("list_nano", "price"),
    [(None, "0.00000025"), (250_000, "0.00000025"), (500_000, "0.0000005")],
)
def test_a_meter_has_its_price_on_the_list(list_nano: int | None, price: str) -> None:
    """The one that it was charged at where the list says no other; a discount shows in both columns."""
    (row,) = rows_of(Charged(BASE, 250_000, list_nano, (ChargeLine("input", 1000, "250"),)))

    assert (row["ContractedUnitPrice"], row["ListUnitPrice"]) == ("0.00000025", price)
    assert row["PricingQuantity"] is not None
    cost = Decimal(str(row["ListUnitPrice"])) * Decimal(row["PricingQuantity"])
    assert cost == Decimal(str(row["ListCost"]))


def test_the_same_meter_is_one_row_a_day() -> None:
    lines = (ChargeLine("input", 10, "250"),)
    again = Charged(BASE, 2500, None, lines)
    next_day = Charged(BASE._replace(day=BASE.day + 1), 2500, None, lines)
    rows = rows_of(again, again, next_day)

    assert [(r["ConsumedQuantity"], r["x_Calls"], r["BilledCost"]) for r in rows] == [
        ("20", "2", "0.000005"),
        ("10", "1", "0.0000025"),
    ]


def test_a_correction_says_that_it_is_one() -> None:
    (row,) = rows_of(Charged(BASE, -500, None, (), correction=True))

    assert (row["ChargeClass"], row["BilledCost"]) == ("Correction", "-0.0000005")
    assert row["ConsumedQuantity"] is None


def test_a_charge_without_lines_is_a_row_as_a_whole() -> None:
    """A lost call's estimate, a cost that the provider stated."""
    (row,) = rows_of(Charged(BASE, 700, None, ()))

    assert (row["BilledCost"], row["SkuId"], row["ConsumedUnit"]) == ("0.0000007", None, None)


PRICES = st.one_of(
    st.integers(0, 10**6).map(str), st.fractions(0, 1000, max_denominator=30).map(str)
)
LINES = st.lists(
    st.builds(
        ChargeLine, st.sampled_from(["input", "output", "images"]), st.integers(0, 10**6), PRICES
    ),
    max_size=5,
)


@given(st.lists(st.tuples(LINES, st.integers(0, 2)), max_size=8))
def test_the_rows_add_up_to_the_charges(charges: list[tuple[list[ChargeLine], int]]) -> None:
    """To the nano-dollar, whatever the lines come to before rounding."""
    charged = []
    for lines, days in sorted(charges, key=lambda each: each[1]):
        exact = sum((line.quantity * Fraction(line.price_nano) for line in lines), Fraction(0))
        cost = round_half_even(exact.numerator, exact.denominator)
        charged.append(Charged(BASE._replace(day=BASE.day + days), cost, None, tuple(lines)))

    assert billed(rows_of(*charged)) == sum(c.cost_nano for c in charged)


def test_prices_are_written_without_an_exponent() -> None:
    assert usd_of(Fraction(250)) == "0.00000025"
    assert usd_of(Fraction(185, 6)) == "0.000000030833333"
    assert usd_of(Fraction(0)) == "0"
