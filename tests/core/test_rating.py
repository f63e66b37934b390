"""What an attempt is charged, of several prices that may apply; and what is kept beside the charge."""

from decimal import Decimal

import pytest
from msgspec import json
from msgspec.structs import replace

from proxy.core.pricing import ChargeLine, PriceQuery, Rates
from proxy.core.rating import Metered, Rated, from_flags, price_flags, rate
from proxy.core.tariff import tariff_from_keys
from proxy.core.usage import Usage, UsagePart

NOW = 0
USED = Metered("up", "acme", "m", usage=Usage(input=1_000))


class Book:
    """A price of a million input tokens by model, in the configuration and in the list."""

    def __init__(self, configured: dict[str, str] | None = None, **listed: str) -> None:
        self.configured = configured or {}
        self.list = listed
        self.asked: list[PriceQuery] = []

    def rates(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The configuration's price, else the list's."""
        self.asked.append(query)
        found = _rates(self.configured, query, "configuration")
        return found or self.listed(query, at_us)

    def listed(self, query: PriceQuery, at_us: int) -> Rates | None:
        """The list's price."""
        del at_us
        return _rates(self.list, query, "pricebook")

    bound = rates


def _rates(prices: dict[str, str], query: PriceQuery, source: str) -> Rates | None:
    usd = prices.get(query.model)
    if usd is None:
        return None
    usd = str(Decimal(usd) / 2) if "flex" in query.variants else usd
    return tariff_from_keys({"input_per_mtok": Decimal(usd)}).rates(source, f"{query.model}-1")


@pytest.mark.parametrize(
    ("configured", "stated", "listed", "expected"),
    [
        ("3", 5_000, "2", ("configuration", 3_000_000, 2_000_000)),
        ("3", 5_000, None, ("configuration", 3_000_000, None)),
        (None, 5_000, "2", ("provider", 5_000, 2_000_000)),
        (None, 0, "2", ("provider", 0, 2_000_000)),
        (None, 5_000, None, ("provider", 5_000, None)),
        (None, None, "2", ("pricebook", 2_000_000, 2_000_000)),
        (None, None, "0", ("pricebook", 0, 0)),
        (None, None, None, ("unpriced", 0, None)),
    ],
)
def test_the_contract_then_what_was_stated_then_the_list_then_unpriced(
    configured: str | None, stated: int | None, listed: str | None, expected: tuple[str, int, int]
) -> None:
    """What a call would have cost at the list price stands beside it, whatever it was charged by."""
    book = Book({"m": configured} if configured else {}, **({"m": listed} if listed else {}))

    rated = rate(book, replace(USED, stated_nano=stated), NOW)

    assert (rated.source, rated.charge.nano, rated.list_nano) == expected


def test_a_stated_charge_has_one_line() -> None:
    """Its lines add up to the charge, like those of every other."""
    stated = rate(Book(), replace(USED, stated_nano=7_123), NOW)

    assert stated == Rated(stated.charge, "provider", "", None)
    assert stated.charge.lines == (ChargeLine("stated", 1, "7123"),)


def test_a_model_that_nobody_lists_is_priced_by_the_name_that_was_asked_for() -> None:
    """Deployments serve under names of their own."""
    book = Book(m="2")

    rated = rate(book, replace(USED, model_served="a-deployment", tier="flex"), NOW)

    assert rated.charge.nano == 1_000_000
    assert [query.model for query in book.asked] == ["a-deployment", "m"]


# Parts

ADVISED = replace(
    USED,
    model_served="sonnet",
    usage=Usage(input=1_500),
    parts=(
        UsagePart("", Usage(input=1_000)),
        UsagePart("opus", Usage(input=400)),
        UsagePart("", Usage(input=100), service_tier="flex"),
    ),
)


def test_each_part_costs_its_own_models_price_and_tier() -> None:
    rated = rate(Book(sonnet="3", opus="5"), ADVISED, NOW)

    assert rated.charge.nano == 3_000_000 + 2_000_000 + 150_000
    assert (rated.source, rated.version) == ("pricebook", "sonnet-1 opus-1")
    assert rated.charge.lines == (
        ChargeLine("input", 1_000, "3000", "sonnet"),
        ChargeLine("input", 400, "5000", "opus"),
        ChargeLine("input", 100, "1500", "sonnet"),
    )


def test_parts_are_rounded_together_once() -> None:
    """Three times half a nano-dollar is a nano-dollar and a half: two, and not none."""
    part = UsagePart("", Usage(input=1))
    metered = replace(USED, parts=(part, part, part))

    assert rate(Book(m="0.0005"), metered, NOW).charge.nano == 2


def test_a_part_that_nothing_prices_leaves_the_whole_unpriced() -> None:
    """It keeps what is known, and a later reprice adds the rest."""
    rated = rate(Book(sonnet="3"), ADVISED, NOW)

    assert (rated.source, rated.version, rated.list_nano) == ("unpriced", "", None)
    assert rated.charge.nano == 3_150_000


def test_a_contract_for_one_part_outranks_what_was_stated() -> None:
    book = Book({"opus": "4"}, sonnet="3", opus="5")

    rated = rate(book, replace(ADVISED, stated_nano=1), NOW)

    assert rated.source == "configuration"
    assert rated.charge.nano == 3_000_000 + 1_600_000 + 150_000
    assert rated.list_nano == 5_150_000


# As a row keeps it


@pytest.mark.parametrize(
    ("tier", "variants", "told"),
    [
        ("", (), ()),
        ("default", ("global", "not_available"), ()),
        ("flex", ("us", "fast", "us"), ("tier=flex", "variant=us", "variant=fast")),
    ],
)
def test_what_decided_a_price_can_be_read_back_from_flags(
    tier: str, variants: tuple[str, ...], told: tuple[str, ...]
) -> None:
    flags = price_flags(tier, variants)

    assert flags == told
    if told:
        assert from_flags(["incomplete", *flags]) == (tier, tuple(dict.fromkeys(variants)))


def test_a_part_is_kept_as_json_and_read_back() -> None:
    text = json.encode(ADVISED.parts)

    assert json.decode(text, type=tuple[UsagePart, ...]) == ADVISED.parts
