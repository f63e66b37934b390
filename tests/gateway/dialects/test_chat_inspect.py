"""What is read of a chat request, and what is refused before anything goes upstream."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.chat_request import cap_parameter, inspect

MESSAGES = [{"role": "user", "content": "hi"}]


def facts(**body: Any) -> RequestFacts:
    return inspect(json.dumps({"model": "gpt-4o", "messages": MESSAGES, **body}).encode())


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        inspect(body)
    return caught.value


def test_the_least_body() -> None:
    """Whatever is absent has OpenAI's default."""
    expected = RequestFacts(
        model="gpt-4o",
        output_limit_name="max_tokens",
        document={"model": "gpt-4o", "messages": MESSAGES},
        openai_chat=True,
    )

    assert expected == facts()


def test_all_that_is_read() -> None:
    body = {
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "max_completion_tokens": 50,
        "n": 3,
        "service_tier": "flex",
        "user": "ann",
        "metadata": {"run": "7", "depth": 3},
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
    }  # fmt: skip

    expected = RequestFacts(
        model="gpt-4o",
        stream=True,
        output_limit=50,
        output_limit_name="max_completion_tokens",
        choices=3,
        wants_usage=True,
        service_tier="flex",
        user="ann",
        metadata={"run": "7"},
        has_tools=True,
        document={"model": "gpt-4o", "messages": MESSAGES, **body},
        openai_chat=True,
    )

    assert expected == facts(**body)


@pytest.mark.parametrize(
    "name",
    ["stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "service_tier", "user",
     "safety_identifier", "metadata", "tools", "modalities", "web_search_options"],
)  # fmt: skip
def test_null_means_absent(name: str) -> None:
    assert replace(facts(**{name: None}), document={}) == replace(facts(), document={})


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"model": None}, "model", "Missing required parameter: 'model'."),
        ({"model": 5}, "model", "'model' must be a model's name, as a string, not 5."),
        ({"model": ""}, "model", "'model' must be a model's name, as a string, not an empty string."),
        ({"model": "gpt\n4"}, "model", "'model' is not a model's name."),
        ({"model": "gpt\x00"}, "model", "'model' is not a model's name."),
        ({"model": "m" * 513}, "model", "'model' is not a model's name."),
        ({"messages": None}, "messages", "Missing required parameter: 'messages'."),
        ({"messages": "hi"}, "messages", "'messages' must be an array of messages, not a string."),
        ({"messages": {}}, "messages", "'messages' must be an array of messages, not an object."),
        ({"stream": "true"}, "stream", "'stream' must be true or false, not a string."),
        ({"stream": 1}, "stream", "'stream' must be true or false, not 1."),
        ({"n": 0}, "n", "'n' must be a whole number from 1 to 128, not 0."),
        ({"n": 129}, "n", "'n' must be a whole number from 1 to 128, not 129."),
        ({"n": True}, "n", "'n' must be a whole number from 1 to 128, not a boolean."),
        ({"n": 1.0}, "n", "'n' must be a whole number from 1 to 128, not 1.0."),
        ({"max_tokens": 0}, "max_tokens", "'max_tokens' must be a whole number of tokens, at least 1, not 0."),
        ({"max_tokens": -5}, "max_tokens", "'max_tokens' must be a whole number of tokens, at least 1, not -5."),
        ({"max_tokens": False}, "max_tokens", "'max_tokens' must be a whole number of tokens, at least 1, not a boolean."),
        ({"max_tokens": 10.5}, "max_tokens", "'max_tokens' must be a whole number of tokens, at least 1, not 10.5."),
        ({"max_tokens": "10"}, "max_tokens", "'max_tokens' must be a whole number of tokens, at least 1, not a string."),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "'max_completion_tokens' must be a whole number of tokens, at least 1, not -1."),
        ({"stream_options": True}, "stream_options", "'stream_options' must be an object, not a boolean."),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "'stream_options.include_usage' must be true or false, not 1."),
        ({"user": 7}, "user", "'user' must be a string, not 7."),
        ({"safety_identifier": []}, "safety_identifier", "'safety_identifier' must be a string, not an array."),
        ({"metadata": "x"}, "metadata", "'metadata' must be an object, not a string."),
        ({"service_tier": {}}, "service_tier", "'service_tier' must be a string, not an object."),
        ({"tools": {}}, "tools", "'tools' must be an array of tools, not an object."),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_name(changes: dict[str, Any], param: str, said: str) -> None:
    """The message says what is wanted and what came; never a text of the body."""
    body = {"model": "gpt-4o", "messages": MESSAGES, **changes}

    refused = refusal(json.dumps(body).encode())

    assert (param, said) == (refused.param, refused.message)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"hello", "not valid JSON"),
        (b'{"model":"m","messages":[]', "at line 1, column 27"),
        (b'{"model":"m",\n"messages":[],}', "at line 2, column"),
        (b'{"model":"m","messages":[],"max_tokens":NaN}', "not valid JSON"),
        (b'{"model":"m","messages":[],"max_tokens":-Infinity}', "not valid JSON"),
        (b'{"model":"m","messages":[],"max_tokens":NaN,"x":"\\ud83d"}', "not valid JSON"),
        (b'{"model":"m","messages":[],"x":"\xff"}', "not valid JSON"),
        (b'{"model":"m","messages":[],"x":"\xff\\ud83d"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"model":"m","messages":[]}', "byte order mark"),
        ('{"model":"m"}'.encode("utf-16"), "byte order mark"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"model":"m","messages":' + b"[" * 70 + b"]" * 70 + b"}", "deeper than 64 levels"),
        (b"[" * 5_000 + b"]" * 5_000, "not valid JSON"),
        (b'{"model":"m","messages":[],"x":"\\ud83d","y":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_no_chat_request_is_refused(body: bytes, said: str) -> None:
    assert said in refusal(body).message


def test_nesting_is_allowed_up_to_the_limit() -> None:
    """62 arrays in a member of the body are 64 levels with what is around them."""
    deep: Any = []
    for _ in range(61):
        deep = [deep]

    assert facts(metadata={"x": deep}).model == "gpt-4o"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","messages":[],"model":"dear"}',
        b'{"model":"cheap","messages":[],"mod\\u0065l":"dear"}',
        b'{"mod\\u0065l":"dear","messages":[],"m\\u006fdel":"cheap"}',
    ],
)
def test_a_decisive_name_given_twice_is_refused(body: bytes) -> None:
    """Some providers take the first and some the last."""
    refused = refusal(body)

    assert (refused.param, refused.message) == ("model", "'model' is given twice; give it once.")


@pytest.mark.parametrize(
    "name", ["stream", "n", "max_tokens", "max_completion_tokens", "tools", "messages"]
)
def test_each_decisive_name_is_looked_at(name: str) -> None:
    values = {"stream": "true", "tools": "[]", "messages": "[]"}
    member = f'"{name}":{values.get(name, "1")}'
    body = f'{{"model":"m","messages":[],{member},"x":[],{member}}}'.encode()

    assert name == refusal(body).param


def test_include_usage_given_twice_is_refused() -> None:
    body = (
        b'{"model":"m","messages":[],"stream_options":{"include_usage":true,"include_usage":false}}'
    )

    assert refusal(body).param == "stream_options.include_usage"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[],"tools":[{"function":{"parameters":{"properties":{"model":{},"n":{}}}}}],"n":1}',
        b'{"model":"model","messages":[{"content":"\\"model\\": \\"n\\""}],"user":"stream"}',
        b'{"model":"m","messages":[{"role":"user","content":"\\u0061\\u005f"}],"user":"a","user":"b"}',
        b'{"model":"m","messages":[],"temperature":1,"temperature":1}',
        b'{"model":"m","messages":[{"content":"\\u00e9\\u0031"}]}',
    ],
)  # fmt: skip
def test_what_only_looks_like_a_second_one_is_not(body: bytes) -> None:
    """Nested names, values, texts, and names that decide nothing."""
    assert inspect(body).model in ("m", "model")


def test_a_decisive_name_in_other_letters_is_refused() -> None:
    """Go's decoder reads MODEL as model."""
    refused = refusal(b'{"model":"cheap","messages":[],"MODEL":"dear"}')

    assert (refused.param, refused.message) == ("model", "'MODEL' must be written 'model'.")


def test_half_an_emoji_is_taken() -> None:
    """JavaScript sends it when a text is cut in the wrong place; it counts as one character."""
    found = inspect(b'{"model":"m","messages":[{"role":"user","content":"a\\ud83d"}],"n":2}')

    assert found.choices == 2
    assert found.document["messages"][0]["content"] == "a\ufffd"


def test_half_an_emoji_in_the_models_name_is_refused() -> None:
    """Nobody could say what goes upstream."""
    assert refusal(b'{"model":"m\\ud83d","messages":[]}').param == "model"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_tokens": 10}, (10, "max_tokens")),
        ({"max_completion_tokens": 10}, (10, "max_completion_tokens")),
        ({"max_tokens": 10, "max_completion_tokens": 20}, (20, "max_completion_tokens")),
        ({"max_tokens": 30, "max_completion_tokens": 20}, (30, "max_tokens")),
        ({"max_tokens": None, "max_completion_tokens": 20}, (20, "max_completion_tokens")),
        ({}, (None, "max_tokens")),
    ],
)
def test_of_two_limits_the_larger_counts(
    limits: dict[str, Any], expected: tuple[int | None, str]
) -> None:
    """Providers differ in which of the two they take: a hold must be enough for either."""
    found = facts(**limits)

    assert expected == (found.output_limit, found.output_limit_name)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-4.1-mini", "max_tokens"),
        ("gpt-3.5-turbo", "max_tokens"),
        ("gpt-oss-120b", "max_tokens"),
        ("llama-3o1", "max_tokens"),
        ("claude-opus-4-5", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("o4-mini-2025-04-16", "max_completion_tokens"),
        ("gpt-5", "max_completion_tokens"),
        ("gpt-5.6-mini", "max_completion_tokens"),
        ("gpt-10", "max_completion_tokens"),
        ("openai/gpt-5", "max_completion_tokens"),
    ],
)
def test_the_limit_goes_where_the_model_takes_it(model: str, expected: str) -> None:
    assert expected == cap_parameter(model)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"messages": user({"type": "text", "text": "hi"}, {"text": "no type"})}, ()),
        ({"messages": user({"type": "image_url", "image_url": {"url": "http://x"}})}, ("image_url",)),
        ({"messages": user({"type": "image_url"}, {"type": "image_url"})}, ("image_url",)),
        ({"messages": user({"type": "input_audio", "input_audio": {}})}, ("input_audio",)),
        ({"messages": user({"type": "file", "file": {"file_id": "f"}})}, ("file",)),
        ({"messages": user({"type": ["?"]})}, ("['?']",)),
        ({"messages": [5, {"role": "assistant", "audio": {"id": "a"}}]}, ("audio",)),
        ({"web_search_options": {"search_context_size": "low"}}, ("web_search_options",)),
        ({"plugins": [{"id": "web"}]}, ("plugins",)),
        ({"models": ["a", "b"]}, ("models",)),
        ({"search_parameters": {"mode": "auto"}}, ("search_parameters",)),
        ({"tools": [{"type": "function"}, {"function": {}}, {"type": "custom"}]}, ()),
        ({"tools": [{"type": "openrouter:web_search"}]}, ("server tool openrouter:web_search",)),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, ("audio output",)),
        ({"modalities": ["image", "text"]}, ("image output",)),
        ({"modalities": ["text"]}, ()),
        ({"prediction": {"type": "content", "content": "x"}}, ()),
        ({"model": "openai/gpt-4o:online"}, ("model openai/gpt-4o:online",)),
        ({"model": "gpt-4o-search-preview"}, ("model gpt-4o-search-preview",)),
        ({"model": "gpt-4o-mini-search-preview-2025-03-11"}, ("model gpt-4o-mini-search-preview-2025-03-11",)),
        ({"model": "groq/compound-mini"}, ("model groq/compound-mini",)),
        ({"model": "compound"}, ("model compound",)),
        ({"model": "compounding"}, ()),
    ],
)  # fmt: skip
def test_what_the_body_can_not_bound_is_named(
    changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """Media, files, what the provider's own tools add, and models that search."""
    assert expected == facts(**changes).unbounded


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user": "ann"}, "ann"),
        ({"safety_identifier": "h4sh"}, "h4sh"),
        ({"user": "ann", "safety_identifier": "h4sh"}, "ann"),
        ({"user": "a\x00b"}, "ab"),
        ({"user": "u" * 600}, "u" * 512),
    ],
)
def test_who_asked(body: dict[str, Any], expected: str) -> None:
    """Short enough for a column, and without the character that PostgreSQL can't hold."""
    assert expected == facts(**body).user


def test_azures_own_data_takes_no_stream_options() -> None:
    """So that none are added; and nothing is hidden of what comes."""
    body = b'{"model":"m","messages":[],"stream":true,"data_sources":[{"type":"azure_search"}]}'

    assert inspect(body).wants_usage
