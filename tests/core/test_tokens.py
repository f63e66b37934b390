import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.tokens import chat_tokens, encoding_name
from proxy.store.vocabulary import Vocabulary
from tests.recorded import exchanges, input_tokens, request_document


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("openai/gpt-4", "cl100k_base"),
        ("ft:gpt-4-0613:acme::1", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("text-embedding-ada-002", "cl100k_base"),
        ("davinci-002", "cl100k_base"),
        ("gpt-4o", "o200k_base"),
        ("GPT-4o-mini", "o200k_base"),
        ("ft:gpt-4o-2024-08-06:acme::1", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-4.5-preview", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-6-sol", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("claude-opus-5", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_the_vocabulary_of_a_model(model: str, expected: str) -> None:
    """A model that nobody knows yet has the newest one."""
    assert encoding_name(model) == expected


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gpt-4o", 3 + 3 + 1 + 2), ("gpt-5", 3 + 3 + 1 + 2 - 1), ("o3-mini", 3 + 3 + 1 + 2 - 1)],
)
def test_a_message_is_wrapped_and_the_answer_primed(model: str, expected: int) -> None:
    document = {"messages": [{"role": "user", "content": "hello there"}]}

    assert chat_tokens(document, model, words) == expected


def test_a_name_costs_one_more() -> None:
    plain = {"messages": [{"role": "user", "content": "hello"}]}
    named = {"messages": [{"role": "user", "content": "hello", "name": "ada"}]}

    assert chat_tokens(named, "gpt-4o", words) == chat_tokens(plain, "gpt-4o", words) + 2


def test_parts_count_like_one_text() -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]

    assert chat_tokens({"messages": [{"content": parts}]}, "gpt-4o", words) == 3 + 3 + 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "messages",
        "role",
        "content",
        "name",
        "text",
        "tools",
        "function",
        "functions",
        "tool_calls",
        "parameters",
        "properties",
        "enum",
        "items",
        "response_format",
        "json_schema",
        "schema",
    ]
)
shaped = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, shaped, max_size=5))
def test_any_json_can_be_counted(document: dict[str, Any]) -> None:
    """A body comes from a client: whatever its shape, there is a number and no error."""
    assert chat_tokens(document, "gpt-5", len) > 0


# Against what providers reported...


MEDIA = ("image_url", "input_audio", '"file"')
SERVER_SIDE = ("web_search_options", "data_sources")


def recorded_chats() -> Iterator[tuple[str, dict[str, Any], str, int]]:
    """Kind, body, model and reported input of every recorded chat that is bounded by its body."""
    for exchange in exchanges():
        if exchange["provider"] != "openai" or not exchange["path"].endswith("/chat/completions"):
            continue
        found = request_document(exchange)
        reported = input_tokens(exchange)
        if exchange["status"] != 200 or found is None or not reported:
            continue
        document = found[0]
        said = json.dumps(document.get("messages"))
        if any(m in said for m in MEDIA) or any(key in document for key in SERVER_SIDE):
            continue
        yield _kind(document, said), document, str(document.get("model")), reported


def _kind(document: dict[str, Any], said: str) -> str:
    if document.get("tools") or document.get("functions"):
        return "tools"
    if "json_schema" in json.dumps(document.get("response_format")):
        return "schema"
    return "tool history" if "tool_call" in said else "text"


@pytest.fixture(scope="module")
def errors() -> dict[str, list[int]]:
    """Reported minus counted, by kind."""
    vocabulary = Vocabulary()
    found: dict[str, list[int]] = {}
    for kind, document, model, reported in recorded_chats():
        counted = chat_tokens(document, model, vocabulary.counter(model))
        found.setdefault(kind, []).append(reported - counted)
    vocabulary.close()
    return found


def test_text_is_counted_exactly(errors: dict[str, list[int]]) -> None:
    """Measured: 97 % to the token, and none more than a few off."""
    text = errors["text"]

    assert len(text) > 200
    assert Counter(text)[0] / len(text) >= 0.95
    assert max(map(abs, text)) <= 5


def test_tools_and_schemas_are_counted_closely(errors: dict[str, list[int]]) -> None:
    """They are wrapped in ways that are not published: half within ten tokens, none far over a hundred."""
    for kind, most in (("tools", 80), ("schema", 60), ("tool history", 30)):
        off = sorted(map(abs, errors[kind]))

        assert off[len(off) // 2] <= 15, kind
        assert off[int(len(off) * 0.95)] <= most, kind
