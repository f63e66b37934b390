import timeit
from decimal import Decimal

import pytest

from proxy.core.errors import ConfigurationError
from proxy.core.pricing import PriceQuery
from proxy.core.usage import Usage
from proxy.settings import PriceOverride
from proxy.store.price_data import PriceData
from proxy.store.pricebook import LayeredPriceBook, layered_book
from tests.store.price_samples import NOW, Written, asked, data, price, rule, us, usd

# Time


DATED = {
    "id": "m",
    "prices": [
        usd(input="1"),
        {"from": "2026-09-01", **usd(input="2")},
        {"daily": ["22:30", "04:00"], **usd(input="3")},
    ],
}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-08-31T12:00", "1"),
        ("2026-09-01T12:00", "2"),
        ("2026-09-01T22:29:59", "2"),
        ("2026-09-01T22:30", "3"),
        ("2026-09-02T03:59:59", "3"),
        ("2026-09-02T04:00", "2"),
        ("2026-08-31T23:00", "3"),
    ],
)
def test_the_last_price_whose_condition_holds(at: str, expected: str) -> None:
    """Dates begin at midnight UTC; a daily price may run past midnight."""
    assert price(LayeredPriceBook((), data(DATED)).rates(asked(), us(at))) == expected


def test_what_is_kept_is_never_used_past_a_change_of_price() -> None:
    """Going through the days minute by minute, a book that keeps answers equals one that does not."""
    rules = [rule(model="m", input_per_mtok=9, valid_from="2026-09-03")]
    kept = LayeredPriceBook(rules, data(DATED))
    for minute in range(0, 5 * 24 * 60, 15):
        at = us("2026-08-30T00:00") + minute * 60_000_000
        for moment in (at, at - 1):
            fresh = LayeredPriceBook(rules, data(DATED))

            assert price(kept.rates(asked(), moment)) == price(fresh.rates(asked(), moment))
            assert price(kept.bound(asked(), moment)) == price(fresh.bound(asked(), moment))


def test_where_no_condition_holds_the_first_price_does() -> None:
    listed = data({"id": "m", "prices": [{"from": "2027-01-01", **usd(input="7")}]})

    assert price(LayeredPriceBook((), listed).rates(asked(), NOW)) == "7"


# Variants


TIERED = {
    "id": "m",
    "prices": [usd(input="2", output="8", cache_read="0.5")],
    "variants": [
        {"when": {"service_tier": "flex"}, **usd(input="1", output="4")},
        {"when": {"service_tier": "priority"}, "from": "2026-10-12", **usd(input="4", output="16")},
        {"when": {"service_tier": "priority"}, **usd(input="99", cache_read="1")},
        {"when": {"processing": "batch"}, **usd(input="0.5")},
        {"when": {"speed": "fast"}, **usd(input="12", output="48")},
    ],
}


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ((), ("2", "0.5", "8")),
        (("default",), ("2", "0.5", "8")),
        (("on_demand",), ("2", "0.5", "8")),
        (("flex",), ("1", "0.5", "4")),
        (("FLEX",), ("1", "0.5", "4")),
        (("ON_DEMAND_FLEX",), ("1", "0.5", "4")),
        (("priority",), ("4", "1", "16")),
        (("batch",), ("0.5", "0.5", "8")),
        (("standard", "fast"), ("12", "0.5", "48")),
        (("flex", "batch"), ("1", "0.5", "4")),
    ],
)
def test_a_variant_replaces_single_prices(
    variants: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """The first that gives a price wins, and what none gives stays the standard price."""
    rates = LayeredPriceBook((), data(TIERED)).rates(asked("m", *variants), NOW)

    assert tuple(price(rates, b) for b in ("input", "cached_input", "output")) == expected


def test_a_variant_has_its_dates() -> None:
    book = LayeredPriceBook((), data(TIERED))

    assert price(book.rates(asked("m", "priority"), us("2026-10-11T23:59"))) == "99"


def test_variants_hold_for_models_sold_by_another() -> None:
    """The package that the data is from forgets them there."""
    book = LayeredPriceBook((), data(TIERED))

    assert price(book.rates(asked("m", "flex", provider="reseller"), NOW)) == "1"


def test_a_variant_that_nothing_prices_shows_in_the_version() -> None:
    """The list price is charged, and the row says what was not known."""
    listed = data(TIERED)
    rates = LayeredPriceBook((), listed).rates(asked("m", "ultrafast"), NOW)

    assert rates is not None
    assert (price(rates), rates.version) == ("2", f"{listed.version}!ultrafast")


def test_a_snapshot_that_is_not_listed_costs_what_its_family_does_and_says_so() -> None:
    listed = data(TIERED)
    rates = LayeredPriceBook((), listed).rates(asked("m-2027-01-01"), NOW)

    assert rates is not None
    assert (price(rates), rates.version) == ("2", f"{listed.version}~m")


# Bounds


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ((), "4"),  # the provider may choose priority, but neither batch nor fast
        (("auto",), "4"),
        (("",), "4"),
        (("default",), "2"),
        (("flex",), "2"),  # which may be refused, and done at the list price
        (("priority",), "4"),
        (("fast",), "12"),
        (("batch",), "0.5"),  # which no answer to a batch is not
    ],
)
def test_a_bound_is_the_dearest_that_the_answer_may_turn_out_to_be(
    variants: tuple[str, ...], expected: str
) -> None:
    book = LayeredPriceBook((), data(TIERED))

    assert price(book.bound(asked("m", *variants), NOW)) == expected


ANSWERS = (("flex",), ("priority",), ("default",), ())


def test_no_rates_of_an_answer_are_over_the_bound_of_its_request() -> None:
    """For every model in the committed data: a request that leaves the tier open, and each tier."""
    book = LayeredPriceBook((), PriceData.load())
    committed = PriceData.load()
    usage = Usage(input=150_000, cached_input=70_000, cache_write=60_000, output=900, reasoning=70)
    for provider in ("openai", "azure", "anthropic", "google", "x-ai", "deepseek"):
        for model in committed.models(provider):
            bound = book.bound(asked(model.id, provider=provider), NOW)
            for variants in ANSWERS:
                rates = book.rates(asked(model.id, *variants, provider=provider), NOW)
                if rates is not None:
                    assert bound is not None
                    assert rates.charge(usage).nano <= bound.charge(usage).nano
                    assert rates.charge(usage).nano <= bound.most_nano(280_000, 970)


def test_a_bound_of_a_contract_is_the_contract() -> None:
    book = LayeredPriceBook([rule(input_per_mtok=1)], data(TIERED))

    assert price(book.bound(asked(), NOW)) == "1"


HEARD = Usage(input=9, audio_input=375, output=201, milliseconds=4000)


@pytest.mark.parametrize(
    ("by_token", "nano"), [({}, 9 * 100 + 266_667), ({"input_audio_mtok": "1"}, 900 + 641_667)]
)
def test_sound_is_billed_by_its_length_or_by_its_tokens(
    by_token: dict[str, str], nano: int
) -> None:
    """Not by both, unless the price says so."""
    prices = {"input_mtok": "0.1", "input_audio_hours": "0.24", **by_token}
    rates = LayeredPriceBook((), data({"id": "m", "prices": [{"usd": prices}]})).rates(asked(), NOW)

    assert rates is not None
    assert rates.charge(HEARD).nano == nano


# The book


def test_a_book_is_made_from_settings_over_the_committed_data() -> None:
    book = layered_book([PriceOverride(upstream="local", input_per_mtok=Decimal(1))])

    assert book.version == PriceData.load().version
    assert price(book.rates(asked("anything", upstream="local", provider=""), NOW)) == "1"
    assert price(book.rates(asked("gpt-4o", provider="openai"), NOW)) == "2.5"


def test_wrong_settings_make_no_book() -> None:
    with pytest.raises(ConfigurationError, match=r"prices\[0\]"):
        layered_book([Written()], data())


def test_what_clients_ask_for_does_not_fill_the_memory() -> None:
    """Any client can name any model."""
    book = LayeredPriceBook((), data())
    for number in range(25_000):
        book.rates(asked(f"model-{number}"), NOW)

    assert len(book._rates) <= 10_000


def test_a_price_that_is_known_costs_one_look() -> None:
    """Under a microsecond on a quiet machine; the limit here leaves room for a busy one."""
    book = LayeredPriceBook((), PriceData.load())
    query = PriceQuery("openai", "openai", "gpt-4o")
    book.rates(query, NOW)

    best = min(timeit.repeat(lambda: book.rates(query, NOW), number=2_000, repeat=5)) / 2_000

    assert best < 5e-6
