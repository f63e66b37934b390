from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import BUCKETS, EMPTY, Usage

usages = st.builds(Usage, **dict.fromkeys(BUCKETS, st.integers(0, 10**9)))


@given(usages, usages)
def test_usages_add_bucket_by_bucket(one: Usage, other: Usage) -> None:
    """A call's usage is that of all its attempts; no token changes its bucket."""
    total = one + other

    for bucket in BUCKETS:
        assert getattr(total, bucket) == getattr(one, bucket) + getattr(other, bucket)


@given(usages, usages)
def test_totals_add_too(one: Usage, other: Usage) -> None:
    total = one + other

    assert total.input_tokens == one.input_tokens + other.input_tokens
    assert total.output_tokens == one.output_tokens + other.output_tokens


@given(usages)
def test_every_token_is_in_one_total(usage: Usage) -> None:
    """What is no token (pictures, time, characters, searches, pages …) is in neither total."""
    units = usage.images + usage.milliseconds + usage.characters + usage.searches
    units += usage.pages + usage.file_searches + usage.containers

    assert usage.input_tokens + usage.output_tokens + units == sum(usage.nonzero().values())


@given(usages)
def test_cached_and_written_tokens_are_inside_the_input(usage: Usage) -> None:
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning <= usage.output_tokens


@given(usages)
def test_nonzero_is_the_usage(usage: Usage) -> None:
    """What a row keeps of a usage is enough to have it back."""
    assert Usage(**usage.nonzero()) == usage
    assert 0 not in usage.nonzero().values()


def test_nothing_is_nothing() -> None:
    assert EMPTY.nonzero() == {}
    assert EMPTY + Usage(input=1) == Usage(input=1)
