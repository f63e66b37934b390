"""OpenAI's embeddings, and what is free."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.core.estimate import input_bound
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import NOWHERE, Address, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.embeddings import Embeddings
from proxy.gateway.dialects.moderations import Moderations
from proxy.gateway.paths import find_way
from tests.gateway.dialects.chunks import compact, cut_every, relayed, words

EMBEDDINGS = Embeddings()
FREE = Moderations()


def inspected(given_input: Any) -> RequestFacts:
    body = compact({"model": "text-embedding-3-small", "input": given_input})
    return EMBEDDINGS.inspect(body, NOWHERE)


def scanner() -> Scanner:
    watch = Watch(streamed=False, strip_usage=False, output_cap=None, count=words)
    return EMBEDDINGS.scanner(inspected("x"), watch)


def answer(*vectors: Any, usage: Any = None) -> bytes:
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    return compact({"object": "list", "data": data, "model": "m-1", "usage": usage})


@pytest.mark.parametrize(
    ("given_input", "text", "tokens"),
    [
        ("one two", "one two", 0),
        (["one", "two"], "one\ntwo", 0),
        ([1, 2, 3], "", 3),
        ([[1, 2], [3]], "", 3),
        ([{"type": "text", "text": "one"}], "one", 0),
        (None, "", 0),
    ],
)
def test_texts_and_token_ids_are_read(given_input: Any, text: str, tokens: int) -> None:
    facts = inspected(given_input)

    assert (EMBEDDINGS.prompt_text(facts), facts.prompt_tokens) == (text, tokens)
    assert (facts.makes_text, facts.unbounded) == (False, ())


@given(st.lists(st.integers(0, 200_000), max_size=300))
def test_a_bodys_bytes_bound_its_token_ids(tokens: list[int]) -> None:
    body = compact({"model": "m", "input": tokens})

    assert len(tokens) <= input_bound(len(body), has_tools=False)


def test_pictures_are_not_bounded() -> None:
    given_input = [{"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]

    assert inspected(given_input).unbounded == ("image_url",)


def test_the_usage_of_a_large_answer_is_read_without_its_vectors() -> None:
    """Eight megabytes of numbers are stepped over, not made into objects."""
    body = answer(*[[0.123456789] * 1000] * 600, usage={"prompt_tokens": 9, "total_tokens": 9})
    watching = scanner()
    tracemalloc.start()
    out = relayed(watching, cut_every(body, 65_536))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert out == body
    assert watching.scan.usage == Usage(input=9)
    assert watching.scan.served_model == "m-1"
    assert peak < 5 * len(body)


def test_voyage_gives_only_a_total() -> None:
    watching = scanner()
    relayed(watching, [answer([0.1], usage={"total_tokens": 18})])

    assert watching.scan.usage == Usage(input=18)


def test_openrouter_states_its_cost() -> None:
    usage = {"prompt_tokens": 7, "total_tokens": 7, "cost": 1.4e-7, "is_byok": False}
    watching = scanner()
    relayed(watching, [answer([0.1], usage=usage)])

    assert watching.scan.stated_nano == 140


def test_an_error_is_told() -> None:
    watching = scanner()
    relayed(watching, [b'{"error":{"code":"model_not_found"}}'])

    assert (watching.scan.usage, watching.scan.error) == (None, "model_not_found")


def test_a_patch_names_the_model() -> None:
    assert EMBEDDINGS.patch(b'{"model":"a"}', Patch("b", 5)) == b'{"model":"b"}'
    assert EMBEDDINGS.patch(b'{"model":"a"}', Patch(output_cap=5)) == b'{"model":"a"}'


@pytest.mark.parametrize("body", [b"{}", b'{"model":"a","model":"b"}', b'{"model":7}', b"[]"])
def test_what_is_in_doubt_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        EMBEDDINGS.inspect(body, NOWHERE)


def test_azures_deployment_names_the_model() -> None:
    assert EMBEDDINGS.inspect(b'{"input":"x"}', Address(b"", model="mine")).model == "mine"


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_pass_unchanged(body: bytes, size: int) -> None:
    watching = scanner()

    assert body == relayed(watching, cut_every(body, size))
    watching.count_output()


# What is free


def test_moderations_cost_nothing() -> None:
    way = find_way("POST", b"/v1/moderations", {})

    assert way is not None
    assert (way.endpoint, way.metered) == ("moderations", False)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"input":"x"}', "omni-moderation-latest"),
        (b'{"model":"m","input":"x"}', "m"),
        (b"nothing", "omni-moderation-latest"),
        (b'{"model":[]}', "omni-moderation-latest"),
    ],
)
def test_a_free_request_says_where_it_goes(body: bytes, model: str) -> None:
    assert model == FREE.inspect(body, NOWHERE).model


@given(st.binary(max_size=60))
def test_any_free_body_is_taken(body: bytes) -> None:
    FREE.patch(body, Patch("m"))
    assert FREE.patch(body, Patch()) is body
    assert FREE.inspect(body, NOWHERE).model


def test_a_free_request_is_renamed() -> None:
    assert FREE.patch(b'{"model": "a"}', Patch("b")) == b'{"model": "b"}'
