"""What is held before a call is never less than what it may cost, under any rule of any price."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.pricing import ALL_OUTPUT, TEXT_INPUT, PriceQuery
from proxy.core.usage import BUCKETS, Usage
from proxy.store import list_price
from proxy.store.price_data import ListPrice, PriceData
from proxy.store.pricebook import LayeredPriceBook
from tests.store.price_samples import NOW, rule

DATA = PriceData.load()
PROVIDERS = (
    "openai", "azure", "anthropic", "google", "aws", "x-ai", "deepseek", "groq", "mistral",
    "perplexity", "cohere", "alibaba", "ark",
)  # fmt: skip
MODELS: list[tuple[str, ListPrice]] = [
    (provider, model)
    for provider in PROVIDERS
    for model in DATA.models(provider)
    if DATA.find(provider, model.id)
]
# Those with more than one price come up more often.
MANY_PRICED = [(p, m) for p, m in MODELS if m.variants or m.search_once or m.minimum_ms]
BOOKS = (
    LayeredPriceBook((), DATA),
    LayeredPriceBook((rule(multiplier="1.07"),), DATA),
    LayeredPriceBook((rule(input_per_mtok=3, output_per_mtok=7, per_request="0.001"),), DATA),
)
COUNTED_BEFORE = tuple(b for b in BUCKETS if b not in (*TEXT_INPUT, *ALL_OUTPUT))
HOUR_US = 3_600_000_000


def split(draw: st.DrawFn, most: int, buckets: tuple[str, ...]) -> dict[str, int]:
    """Counts of these buckets that are no more than ``most`` together."""
    used = {}
    for bucket in draw(st.permutations(buckets)):
        used[bucket] = draw(st.integers(0, most))
        most -= used[bucket]
    return used


@st.composite
def calls(draw: st.DrawFn) -> tuple[LayeredPriceBook, str, ListPrice, int, int, Usage, Usage]:
    """A request's bounds, what it counts itself, and a usage within them."""
    provider, model = draw(st.sampled_from(MANY_PRICED) | st.sampled_from(MODELS))
    most_in = draw(st.sampled_from((0, 100, 50_000, 210_000, 300_000)) | st.integers(0, 400_000))
    most_out = draw(st.integers(0, 130_000))
    beside = Usage(
        **{b: draw(st.integers(0, 20_000)) for b in draw(st.sets(st.sampled_from(COUNTED_BEFORE)))}
    )
    used = split(draw, most_in, TEXT_INPUT) | split(draw, most_out, ALL_OUTPUT)
    for bucket in COUNTED_BEFORE:
        used[bucket] = draw(st.integers(0, getattr(beside, bucket)))
    return draw(st.sampled_from(BOOKS)), provider, model, most_in, most_out, beside, Usage(**used)


@settings(max_examples=300, deadline=None)
@given(calls(), st.data())
def test_no_charge_is_over_what_was_held_whatever_the_provider_chooses(
    call: tuple[LayeredPriceBook, str, ListPrice, int, int, Usage, Usage], data: st.DataObject
) -> None:
    """The answer has any of what was asked for, and any of what the request left to the provider."""
    book, provider, model, most_in, most_out, beside, usage = call
    at = NOW + data.draw(st.integers(0, 47)) * HOUR_US
    known = list_price.variants_of(model, at)
    chosen = [v for key, v in known if key in list_price.CHOSEN_BY_PROVIDER]
    asked = data.draw(
        st.lists(st.sampled_from([v for _, v in known if v not in chosen]), unique=True)
        if len(known) > len(chosen)
        else st.just([])
    )
    granted = data.draw(st.lists(st.sampled_from(asked), unique=True) if asked else st.just([]))
    if "batch" in asked and "batch" not in granted:
        granted.append("batch")  # which is not the provider's to choose
    by_key: dict[str, list[str]] = {}
    for key, value in known:
        if key in list_price.CHOSEN_BY_PROVIDER:
            by_key.setdefault(key, [""]).append(value)
    ways = list(product(*by_key.values()))
    way = data.draw(st.sampled_from(ways)) if "batch" not in asked else ()
    answered = (*granted, *(value for value in way if value))

    bound = book.bound(PriceQuery("up", provider, model.id, tuple(asked)), at)
    rates = book.rates(PriceQuery("up", provider, model.id, answered), at)

    assert bound is not None
    assert rates is not None
    assert rates.charge(usage).nano <= bound.most_nano(most_in, most_out, beside)
