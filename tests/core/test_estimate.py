import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.estimate import (
    UNKNOWN_MAX_OUTPUT,
    counted_bound,
    input_bound,
    likely_input,
    likely_output,
    model_max_output,
    output_bound,
)
from proxy.store.vocabulary import Vocabulary
from tests.recorded import exchanges, input_tokens, request_document


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[Vocabulary]:
    made = Vocabulary()
    yield made
    made.close()


# Input


@given(text=st.text(max_size=300), escape=st.booleans())
def test_a_body_has_more_bytes_than_its_text_has_tokens(
    vocabulary: Vocabulary, text: str, *, escape: bool
) -> None:
    """However JSON writes it: escapes only make it longer."""
    body = json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=escape)
    tokens = vocabulary.counter("gpt-4o")(text)

    assert tokens + 7 <= len(body.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("text", ["\x00" * 999, "\u200b" * 999, "𒀀" * 999, "\n" * 999, "🏳️‍🌈" * 99])
def test_the_worst_texts_have_no_more_tokens_than_bytes(vocabulary: Vocabulary, text: str) -> None:
    """Control characters, cuneiform, what a vocabulary has no word for."""
    for model in ("gpt-4o", "gpt-4"):
        assert vocabulary.counter(model)(text) <= len(text.encode())


def test_empty_messages_are_bounded_by_their_json() -> None:
    """Each is wrapped in a few tokens, and in more bytes."""
    body = json.dumps({"messages": [{"role": "user", "content": ""}] * 1000})

    assert input_bound(len(body), has_tools=False) >= 1000 * 4 + 3


@given(
    st.integers(0, 10**7), st.booleans(), st.sampled_from(["", "gpt-5", "claude-opus-5", "nova-2"])
)
def test_a_bound_is_never_under_the_count(tokens: int, has_tools: bool, model: str) -> None:
    assert counted_bound(tokens, has_tools=has_tools, model=model) > tokens


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_the_close_bound_is_never_over_the_cheap_one(
    tokens: int, body_bytes: int, has_tools: bool
) -> None:
    closer = counted_bound(tokens, has_tools=has_tools, body_bytes=body_bytes)

    assert closer <= input_bound(body_bytes, has_tools=has_tools)


def test_other_makers_tokens_are_allowed_for() -> None:
    """A new Claude makes half as many again of the same text."""
    theirs = counted_bound(100_000, has_tools=False, model="claude-opus-4-8")
    ours = counted_bound(100_000, has_tools=False, model="gpt-5.6")

    assert theirs >= 153_000 > ours


# Against what providers reported...


# What a body does not bound: media, files, state and tools on the provider's side.
UNBOUNDED = re.compile(
    r"image|\"file|file_|audio|video|inline_?data|\"document|previous_response|\"conversation\""
    r"|cached_?content|search|code_?(?:interpreter|execution)|mcp|url_?context|computer|container"
    r"|advisor|data_sources|plugins|:online|compound|ground|web_fetch|text_editor|retrieval|skills"
    r"|/threads|guardrail|memory",
    re.IGNORECASE,
)
TOOLS = ("tools", "functions", "toolConfig")


def strings(value: Any) -> Iterator[str]:
    """Every text in a body, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


Recorded = tuple[int, int, int, bool, str]  # reported, bytes, counted, has tools, model


@pytest.fixture(scope="module")
def recorded(vocabulary: Vocabulary) -> list[Recorded]:
    """Every recorded request that its body bounds, of every provider."""
    rows = []
    count = vocabulary.counter("gpt-4o")
    for exchange in exchanges():
        found, reported = request_document(exchange), input_tokens(exchange)
        if exchange["status"] != 200 or found is None or not reported:
            continue
        document, size = found
        if UNBOUNDED.search(json.dumps(document) + exchange["path"]):
            continue
        tools = [document[key] for key in TOOLS if document.get(key)]
        said = {key: value for key, value in document.items() if key not in TOOLS}
        counted = sum(count(text) for text in strings(said))
        counted += count(json.dumps(tools)) if tools else 0
        model = str(document.get("model") or exchange["path"])
        rows.append((reported, size, counted, bool(tools), model))
    return rows


def test_the_cheap_bound_holds(recorded: list[Recorded]) -> None:
    """Measured on 7,000: 99.96 %."""
    over = [r for r in recorded if r[0] > input_bound(r[1], has_tools=r[3])]

    assert len(recorded) > 1000
    assert len(over) / len(recorded) <= 0.001, over


def test_the_close_bound_holds(recorded: list[Recorded]) -> None:
    over = []
    for reported, size, counted, tools, model in recorded:
        bound = counted_bound(counted, has_tools=tools, model=model, body_bytes=size)
        if reported > bound:
            over.append((model, reported, bound))

    assert len(over) / len(recorded) <= 0.005, over


# Output


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-3.5-turbo", 4_096),
        ("gpt-4", 8_192),
        ("gpt-4-turbo", 4_096),
        ("gpt-4o-2024-05-13", 4_096),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("openai/gpt-4o", 16_384),
        ("ft:gpt-4o-mini-2024-07-18:acme::1", 16_384),
        ("gpt-4.1-nano", 32_768),
        ("o3-mini", 100_000),
        ("gpt-5-mini", 128_000),
        ("gpt-5-pro", 272_000),
        ("gpt-6-sol", 128_000),
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-sonnet-latest", 8_192),
        ("claude-sonnet-4-20250514", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 64_000),
        ("claude-opus-4-8", 128_000),
        ("claude-sonnet-5", 128_000),
        ("models/gemini-2.5-flash", 65_536),
        ("gemini-2.0-flash-001", 8_192),
        ("grok-4.3", 1_000_000),
        ("text-embedding-3-small", 0),
        ("llama-3.3-70b", None),
        ("", None),
    ],
)
def test_the_most_that_a_model_answers(model: str, expected: int | None) -> None:
    assert model_max_output(model) == expected


def test_without_a_cap_an_answer_is_as_long_as_the_model_can() -> None:
    assert output_bound(None, "gpt-4.1") == 32_768
    assert output_bound(None, "a model of tomorrow") == UNKNOWN_MAX_OUTPUT
    assert output_bound(None, "text-embedding-3-small") == 0


def test_every_choice_has_its_cap() -> None:
    """``n`` answers are n times the output, whatever their prompt."""
    assert output_bound(100, "gpt-4o", choices=3) == 300


def test_a_lost_call_is_charged_what_is_usual() -> None:
    """Four bytes a token in, a short answer out, and never more than its cap."""
    assert (likely_input(4_001), likely_output(None)) == (1_001, 512)
    assert (likely_input(4_000), likely_output(100)) == (1_000, 100)
