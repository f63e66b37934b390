"""Usage objects of OpenAI's chat format, into disjoint buckets."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects import usage as module
from proxy.gateway.dialects.usage import (
    CACHED_OVER_INPUT,
    INCONSISTENT,
    OUTPUT_FROM_TOTAL,
    WRONG_TYPE,
    find_usage,
    read_plain_usage,
    read_usage,
)
from tests.gateway.dialects.documents import spelled


def counts(prompt: int, completion: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    total = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


@pytest.mark.parametrize(
    ("who", "raw", "expected"),
    [
        ("vLLM without details", counts(43, 36), Usage(input=43, output=36)),
        (
            "OpenAI: cached and reasoning are inside",
            counts(
                1220, 300,
                prompt_tokens_details={"cached_tokens": 1024, "audio_tokens": 0},
                completion_tokens_details={"reasoning_tokens": 100, "audio_tokens": 0, "accepted_prediction_tokens": 0},
            ),
            Usage(input=196, cached_input=1024, output=200, reasoning=100),
        ),
        (
            "OpenAI: written to the cache is inside",
            counts(1220, 100, prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 1217}),
            Usage(input=3, cache_write=1217, output=100),
        ),
        (
            "OpenAI: rejected predictions are output",
            counts(10, 50, completion_tokens_details={"rejected_prediction_tokens": 20, "reasoning_tokens": 0}),
            Usage(input=10, output=50),
        ),
        (
            "OpenAI: audio in and out",
            counts(
                28, 60,
                prompt_tokens_details={"audio_tokens": 10, "text_tokens": 18, "cached_tokens": 0},
                completion_tokens_details={"audio_tokens": 40, "text_tokens": 20},
            ),
            Usage(input=18, audio_input=10, output=20, audio_output=40),
        ),
        (
            "OpenAI: cached audio as stated",
            counts(
                100, 1,
                prompt_tokens_details={
                    "audio_tokens": 60, "cached_tokens": 50,
                    "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 30},
                },
            ),
            Usage(input=20, cached_input=20, audio_input=30, cached_audio_input=30, output=1),
        ),
        (
            "Grok: what is cached is text first",
            counts(265, 52, prompt_tokens_details={"cached_tokens": 162, "text_tokens": 9, "image_tokens": 256}),
            Usage(cached_input=9, image_input=103, cached_image_input=153, output=52),
        ),
        (
            "xAI: reasoning is outside",
            counts(10, 5, 115, completion_tokens_details={"reasoning_tokens": 100}),
            Usage(input=10, output=5, reasoning=100),
        ),
        (
            "DeepSeek: the same number under two names",
            counts(
                362, 19,
                prompt_tokens_details={"cached_tokens": 256},
                completion_tokens_details={"reasoning_tokens": 12},
                prompt_cache_hit_tokens=256, prompt_cache_miss_tokens=106,
            ),
            Usage(input=106, cached_input=256, output=7, reasoning=12),
        ),
        (
            "DeepSeek, older: only its own name",
            counts(12, 8, prompt_cache_hit_tokens=4, prompt_cache_miss_tokens=8),
            Usage(input=8, cached_input=4, output=8),
        ),
        ("Moonshot, Together", counts(45, 3, cached_tokens=5), Usage(input=40, cached_input=5, output=3)),
        ("Mistral: cached", counts(45, 3, num_cached_tokens=5), Usage(input=40, cached_input=5, output=3)),
        (
            "Mistral: audio is outside the prompt, and billed by its length",
            counts(9, 201, 585, prompt_audio_seconds=4, prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 375}),
            Usage(input=9, audio_input=375, output=201, milliseconds=4000),
        ),
        (
            "Writer, Mistral: details of a token",
            counts(45, 30, prompt_token_details={"cached_tokens": 5}, completion_token_details={"reasoning_tokens": 9}),
            Usage(input=40, cached_input=5, output=21, reasoning=9),
        ),
        (
            "Databricks: nothing yet of the output",
            {"prompt_tokens": 193, "completion_tokens": None, "total_tokens": None, "cache_read_input_tokens": 0},
            Usage(input=193),
        ),
        (
            "Databricks: the cache beside the prompt",
            counts(10, 5, 115, cache_read_input_tokens=80, cache_creation_input_tokens=20),
            Usage(input=10, cached_input=80, cache_write=20, output=5),
        ),
        (
            "Perplexity: reasoning and searches beside",
            counts(7, 3847, reasoning_tokens=308156, num_search_queries=18),
            Usage(input=7, output=3847, reasoning=308156, searches=18),
        ),
        ("SGLang: reasoning beside, but inside", counts(7, 30, reasoning_tokens=20), Usage(input=7, output=10, reasoning=20)),
        (
            "OpenRouter: searches",
            counts(8, 3, server_tool_use_details={"web_search_requests": 1}, cost=0.013),
            Usage(input=8, output=3, searches=1),
        ),
        (
            "Image output",
            counts(8, 1300, completion_tokens_details={"image_tokens": 1290, "reasoning_tokens": 0}),
            Usage(input=8, output=10, image_output=1290),
        ),
        ("Names of the newer API", {"input_tokens": 5, "output_tokens": 6}, Usage(input=5, output=6)),
        ("Only a total and a prompt", {"prompt_tokens": 5, "total_tokens": 8}, Usage(input=5, output=3)),
        ("Only a total and a completion", {"completion_tokens": 5, "total_tokens": 8}, Usage(input=3, output=5)),
        ("No total", {"prompt_tokens": 5, "completion_tokens": 3}, Usage(input=5, output=3)),
        ("A total of zero is none", counts(5, 3, 0), Usage(input=5, output=3)),
        ("Whole numbers written as floats", counts(5, 3) | {"prompt_tokens": 5.0}, Usage(input=5, output=3)),
        ("Nothing", {}, Usage()),
    ],
)  # fmt: skip
def test_a_providers_usage(who: str, raw: dict[str, Any], expected: Usage) -> None:
    """Each provider's way to count, without a flag: this is how it is, not an error."""
    reading = read_usage(raw)

    assert (who, expected, ()) == (who, reading.usage, reading.flags)


@pytest.mark.parametrize(
    ("raw", "expected", "flag"),
    [
        # Grok on Azure counts a prefix that the prompt does not show.
        (counts(7, 8, prompt_tokens_details={"cached_tokens": 161}), Usage(cached_input=7, output=8), CACHED_OVER_INPUT),
        # Gemini's total holds thoughts that nothing else shows.
        (counts(10, 5, 50), Usage(input=10, output=5, reasoning=35), OUTPUT_FROM_TOTAL),
        (counts(10, 5, 12), Usage(input=10, output=5), INCONSISTENT),
        # OpenRouter once had more reasoning than output.
        (counts(43, 10, completion_tokens_details={"reasoning_tokens": 11}), Usage(input=43, reasoning=10), INCONSISTENT),
        (counts(5, 3) | {"prompt_tokens": "5"}, Usage(input=5, output=3), WRONG_TYPE),
        (counts(5, 3) | {"prompt_tokens": True}, Usage(input=5, output=3), WRONG_TYPE),
        (counts(5, 3) | {"prompt_tokens": -1}, Usage(input=5, output=3), WRONG_TYPE),
        (counts(5, 3, cached_tokens=2.5), Usage(input=5, output=3), WRONG_TYPE),
        (counts(5, 3, cached_tokens=10**30), Usage(input=5, output=3), WRONG_TYPE),
        (counts(5, 3, prompt_tokens_details=[1]), Usage(input=5, output=3), WRONG_TYPE),
    ],
)  # fmt: skip
def test_what_is_odd_is_flagged(raw: dict[str, Any], expected: Usage, flag: str) -> None:
    """Cut to what can be, taken as absent, or taken from the total; and marked."""
    reading = read_usage(raw)

    assert (expected, (flag,)) == (reading.usage, reading.flags)


_NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 500), st.floats(), st.text(max_size=3), st.integers()
)
_NAMES = st.sampled_from(
    [
        *module._BESIDE,
        *module._PROMPT_DETAILS,
        *module._COMPLETION_DETAILS,
        "cached_tokens_details",
        "x",
    ]
)
_FLAT = st.dictionaries(
    _NAMES, st.one_of(_NUMBERS, st.dictionaries(_NAMES, _NUMBERS, max_size=3)), max_size=6
)
_ANY_USAGE = st.dictionaries(
    st.one_of(
        _NAMES,
        st.sampled_from(
            ["prompt_tokens_details", "completion_tokens_details", "prompt_tokens", "completion_tokens",
             "total_tokens", "server_tool_use_details"]
        ),
    ),
    st.one_of(_NUMBERS, _FLAT, st.lists(_NUMBERS, max_size=2)),
    max_size=9,
)  # fmt: skip


@given(_ANY_USAGE)
def test_no_usage_object_gives_a_negative_count(raw: dict[str, Any]) -> None:
    """Whatever the provider writes: no exception, no bucket below zero."""
    reading = read_usage(raw)

    assert all(count >= 0 for count in reading.usage.nonzero().values())


@given(
    st.integers(0, 90),
    st.integers(0, 90),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_the_buckets_add_up(
    prompt: int, completion: int, cached: int, written: int, audio: int, reasoning: int
) -> None:
    """With a total that is prompt and completion, all input is the prompt, all output the completion."""
    raw = counts(
        prompt,
        completion,
        prompt_tokens_details={"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio, "image_tokens": written},
        completion_tokens_details={"reasoning_tokens": reasoning, "audio_tokens": audio},
    )  # fmt: skip

    usage = read_usage(raw).usage

    if prompt + completion:
        assert (prompt, completion) == (usage.input_tokens, usage.output_tokens)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_the_short_way_gives_what_the_long_way_gives(
    prompt: int, completion: int, cached: int, reasoning: int
) -> None:
    """OpenAI's usual form is read by a shorter way: the same counts, to the token."""
    raw = counts(
        prompt,
        completion,
        prompt_tokens_details={"cached_tokens": cached, "audio_tokens": 0},
        completion_tokens_details={"reasoning_tokens": reasoning},
    )
    short = module._plain(raw)

    long = read_usage({**raw, "cost": 0})

    if short is not None:
        assert (long.usage, ()) == (short, long.flags)
    else:
        assert cached > prompt or reasoning > completion


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": counts(1, 2)},
        {"x_groq": {"usage": counts(1, 2)}},
        {"usage": None, "x_groq": {"usage": counts(1, 2)}},
        {"usage": counts(0, 0), "x_groq": {"usage": counts(1, 2)}},
        {"choices": [{"index": 0}, {"usage": counts(1, 2)}]},
    ],
)
def test_usage_is_found_where_providers_put_it(answer: dict[str, Any]) -> None:
    """At the top, Groq's in ``x_groq``, Moonshot's in a choice."""
    assert counts(1, 2) == find_usage(answer)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"usage": None},
        {"usage": 5},
        {"usage": {}},
        {"usage": counts(0, 0)},
        {"usage": {"prompt_tokens": "9"}},
        {"x_groq": 1, "choices": 2},
        {"choices": [1, {"usage": None}], "x_groq": {"id": "r"}},
    ],
)
def test_usage_without_a_number_is_none(answer: dict[str, Any]) -> None:
    """Null, empty and zero-filled objects say nothing."""
    assert find_usage(answer) is None


_COUNTS = st.integers(-1, 3) | st.sampled_from([None, True, 1.0, 2.5, 10**12, 10**30, "1"])


@st.composite
def _written(draw: st.DrawFn) -> bytes:
    """Usage objects that are plain, or nearly, with names given twice or in escapes."""
    prompt, completion = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    plain = counts(prompt, completion, draw(st.just(prompt + completion) | st.integers(0, 6)))
    members: list[tuple[str, Any]] = list(plain.items())
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        inner = st.sampled_from(
            ["cached_tokens", "audio_tokens", "reasoning_tokens", "rejected_prediction_tokens", "x"]
        )
        details = st.none() | st.dictionaries(inner, _COUNTS | st.just(0), max_size=3)
        members += [(name, value) for value in draw(st.lists(details, max_size=1))]
    members += draw(
        st.lists(st.tuples(st.sampled_from([*plain, "cost", "x"]), _COUNTS), max_size=1)
    )
    random = draw(st.randoms(use_true_random=False))
    pieces = [
        spelled({name: value}, random)[1:-1] for name, value in draw(st.permutations(members))
    ]
    return b"{" + b",".join(pieces) + b"}"


@given(_written())
@settings(max_examples=500)
def test_read_from_its_bytes_a_usage_is_the_same(raw: bytes) -> None:
    """What is read without making objects of it is read as it would be with them, or not at all."""
    plain = read_plain_usage(raw)

    if plain is not None:
        document = orjson.loads(raw)
        assert find_usage({"usage": document}) == document
        assert read_usage(document) == module.Reading(plain)


def test_the_usual_usage_is_read_from_its_bytes() -> None:
    """As OpenAI writes it, indented."""
    raw = json.dumps(
        counts(
            219,
            17,
            prompt_tokens_details={"cached_tokens": 100, "audio_tokens": 0},
            completion_tokens_details={
                "reasoning_tokens": 7,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        ),
        indent=2,
    )

    expected = Usage(input=119, cached_input=100, output=10, reasoning=7)
    assert expected == read_plain_usage(raw.encode())
