from decimal import Decimal

import pytest

from proxy.core.errors import ConfigurationError
from proxy.core.usage import Usage
from proxy.store.price_rules import rules_from
from proxy.store.pricebook import LayeredPriceBook
from tests.store.price_samples import NOW, Written, asked, data, price, rule, us, usd


def test_what_nothing_prices_is_unpriced_and_never_free() -> None:
    book = LayeredPriceBook((), data())

    assert book.rates(asked(), NOW) is None
    assert book.bound(asked(), NOW) is None
    assert book.rates(asked(), NOW) is None  # kept, too


def test_the_price_data_is_the_last_layer() -> None:
    book = LayeredPriceBook((), data({"id": "m", "prices": [usd(input="2", output="8")]}))

    rates = book.rates(asked(), NOW)

    assert rates is not None
    assert (rates.source, rates.version) == (
        "pricebook",
        data({"id": "m", "prices": [usd(input="2", output="8")]}).version,
    )
    assert rates.charge(Usage(input=1_000, output=100)).nano == 2_000_000 + 800_000


def test_the_configuration_goes_before_the_price_data() -> None:
    """A contract replaces the list price whole: what it does not say falls back within itself."""
    listed = data({"id": "m", "prices": [usd(input="2", output="8", cache_read="0.5")]})
    book = LayeredPriceBook([rule(model="m", input_per_mtok=1, output_per_mtok=3)], listed)

    rates = book.rates(asked(), NOW)

    assert rates is not None
    assert rates.source == "configuration"
    assert rates.version.startswith("rule-")
    assert price(rates, "cached_input") == "1"


def test_a_rule_is_for_its_upstream_and_model() -> None:
    rules = [rule(upstream="local", model="qwen*", input_per_mtok="0.1")]
    book = LayeredPriceBook(rules, data())

    assert price(book.rates(asked("Qwen3-8b", upstream="local", provider=""), NOW)) == "0.1"
    assert price(book.rates(asked("qwen3-8b", upstream="other", provider=""), NOW)) == "unpriced"
    assert price(book.rates(asked("llama", upstream="local", provider=""), NOW)) == "unpriced"


@pytest.mark.parametrize("served", ["gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "GPT-4o"])
def test_a_rule_for_a_model_is_for_its_snapshots_too(served: str) -> None:
    """Answers name the snapshot. A contract that only knew the alias would never be used."""
    book = LayeredPriceBook([rule(model="gpt-4o", input_per_mtok=1)], data())

    assert price(book.rates(asked(served), NOW)) == "1"
    assert price(book.rates(asked("gpt-4o-mini"), NOW)) == "unpriced"


def test_the_first_matching_rule_wins() -> None:
    special, general = rule(model="m", input_per_mtok=1), rule(model="*", input_per_mtok=5)

    assert price(LayeredPriceBook([special, general], data()).rates(asked(), NOW)) == "1"
    assert price(LayeredPriceBook([general, special], data()).rates(asked(), NOW)) == "5"


def test_rules_for_the_same_calls_are_one_price_over_time() -> None:
    """Of those, the latest that has begun holds, in whichever order they were written."""
    old = rule(model="m", input_per_mtok=1)
    spring = rule(model="m", input_per_mtok=2, valid_from="2026-03-01")
    summer = rule(model="m", input_per_mtok=3, valid_from="2026-07-01")
    for rules in ([old, spring, summer], [summer, spring, old]):
        book = LayeredPriceBook(rules, data())

        assert price(book.rates(asked(), us("2026-02-28T23:59"))) == "1"
        assert price(book.rates(asked(), us("2026-03-01T00:00"))) == "2"
        assert price(book.rates(asked(), NOW)) == "3"
        assert price(book.rates(asked(), us("2026-06-30T23:59"))) == "2"


def test_a_rule_that_has_not_begun_leaves_the_call_to_the_next() -> None:
    rules = [rule(model="m", input_per_mtok=1, valid_from="2027-01-01"), rule(input_per_mtok=5)]
    book = LayeredPriceBook(rules, data())

    assert price(book.rates(asked(), NOW)) == "5"
    assert price(book.rates(asked(), us("2027-01-01T00:00"))) == "1"


def test_a_multiplier_alone_scales_the_price_data() -> None:
    """All of it: tiers, variants and dates are the data's own."""
    listed = data(
        {
            "id": "m",
            "prices": [usd(input={"0": "2", "200000": "4"}, output="8")],
            "variants": [{"when": {"service_tier": "flex"}, **usd(input="1")}],
        }
    )
    book = LayeredPriceBook([rule(upstream="eu", multiplier="1.1")], listed)

    rates = book.rates(asked(upstream="eu"), NOW)

    assert rates is not None
    assert rates.source == "configuration"
    assert rates.version.endswith(f"@{listed.version}")
    assert [t.shown[0] for t in rates.tiers] == ["4400", "2200"]
    assert price(book.rates(asked("m", "flex", upstream="eu"), NOW)) == "1.1"
    assert price(book.rates(asked(upstream="us"), NOW)) == "2"
    assert book.rates(asked("unknown", upstream="eu"), NOW) is None


def test_a_multiplier_beside_prices_scales_those() -> None:
    book = LayeredPriceBook([rule(input_per_mtok=2, multiplier="0.85")], data())

    assert price(book.rates(asked(), NOW)) == "1.7"


def test_a_price_of_nothing_is_a_price() -> None:
    """An own server may cost nothing; that is not the same as unpriced."""
    book = LayeredPriceBook([rule(input_per_mtok=0, output_per_mtok=0)], data())

    rates = book.rates(asked(), NOW)

    assert rates is not None
    assert rates.charge(Usage(input=10**6)).nano == 0


def test_a_rule_has_a_version_of_what_it_says() -> None:
    one = rule(model="m", input_per_mtok="1.0")

    assert one.version == rule(model="m", input_per_mtok="1.00").version
    assert one.version != rule(model="m", input_per_mtok="1.01").version
    assert one.version != rule(model="m", input_per_mtok="1", valid_from="2026-01-01").version


@pytest.mark.parametrize(
    "written", [Written(), Written(input_per_mtok=-1), Written(multiplier=Decimal("NaN"))]
)
def test_a_rule_that_is_none_is_refused_with_its_place(written: Written) -> None:
    with pytest.raises(ConfigurationError, match=r"prices\[1\]"):
        rules_from([Written(multiplier=1), written])


def test_a_float_is_read_as_it_is_written() -> None:
    (made,) = rules_from([Written(input_per_mtok=0.1)])

    assert made.prices == {"input_per_mtok": Decimal("0.1")}
