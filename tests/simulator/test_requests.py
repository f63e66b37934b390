"""What a request may ask for, and what it is refused for."""

from typing import Any

import pytest

from tests.simulator.provider import Provider, chat_body, content, events


@pytest.mark.parametrize("param", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cap_is_honoured(provider: Provider, param: str, stream: bool) -> None:
    """The capped text is the beginning of the whole one."""
    prompt = "[[sim: output_tokens=40]]"
    whole = (await provider.chat(prompt)).json()["choices"][0]["message"]["content"]

    response = await provider.chat(prompt, stream=stream, **{param: 7})

    if stream:
        chunks = events(response.text)
        text, finish = content(chunks), chunks[-1]["choices"][0]["finish_reason"]
    else:
        choice = response.json()["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
    assert finish == "length"
    assert whole.startswith(text)
    assert [line.completion_tokens for line in provider.app.invoice.lines] == [40, 7]


async def test_a_cap_that_is_just_enough_does_not_cut(provider: Provider) -> None:
    answer = (await provider.chat("[[sim: output_tokens=7]]", max_tokens=7)).json()

    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("cap", "expected"), [(10, (10, 10)), (70, (70, 64)), (999, (84, 64))])
async def test_hidden_tokens_count_first(
    provider: Provider, cap: int, expected: tuple[int, int]
) -> None:
    """A cap below the reasoning leaves no room for text."""
    await provider.chat("[[sim: output_tokens=20]]", model="gpt-5", max_completion_tokens=cap)

    assert expected == (provider.line.completion_tokens, provider.line.reasoning_tokens)


async def test_a_cap_can_be_ignored(provider: Provider) -> None:
    await provider.chat("[[sim: output_tokens=40, ignore_max_tokens]]", max_tokens=7)

    assert provider.line.completion_tokens == 40


async def test_a_stop_sequence_ends_the_text(provider: Provider) -> None:
    """The sequence itself is not said."""
    whole = (await provider.chat("[[sim: output_tokens=9]]")).json()["choices"][0]["message"]
    word = whole["content"].split(" ")[4]

    answer = (await provider.chat("[[sim: output_tokens=9]]", stop=[word, "never"])).json()

    expected = whole["content"][: whole["content"].index(word)]
    assert expected == answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 5


async def test_the_number_of_choices_can_be_forced(provider: Provider) -> None:
    answer = (await provider.chat("[[sim: choices=3]]", n=1)).json()

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]


async def test_a_model_name_steers(provider: Provider) -> None:
    answer = (await provider.chat(model="sim-output-tokens-3")).json()

    assert (answer["model"], answer["usage"]["completion_tokens"]) == ("sim-output-tokens-3", 3)
    assert provider.line.cost_nano == 8 * 1000 + 3 * 4000


async def test_prompt_tokens_are_counted_over_all_parts(provider: Provider) -> None:
    """4 for a message, 3 for the answer, 85 for an image, a token for each 4 bytes of tools."""
    messages = [
        {"role": "system", "content": "Be brief", "name": "boss"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        },
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = chat_body() | {"messages": messages, "tools": tools}

    answer = (await provider.client.post("/v1/chat/completions", json=body)).json()

    compact = len('[{"type":"function","function":{"name":"f"}}]')
    expected = 3 + (4 + 2 + 1) + (4 + 3 + 85) + compact // 4
    assert expected == answer["usage"]["prompt_tokens"]


REFUSED: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    ({"max_tokens": -5}, "max_tokens", "integer_below_min_value", ">= 1, but got -5"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value", ">= 1"),
    ({"max_tokens": "9"}, "max_tokens", "invalid_type", "expected an integer, but got a string"),
    ({"max_tokens": True}, "max_tokens", "invalid_type", "got a boolean"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type", "got a decimal number"),
    ({"max_tokens": 16_385}, "max_tokens", "invalid_value", "at most 16384"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, None, "invalid_parameter_combination", "same"),
    (
        {"max_tokens": 1, "model": "gpt-5"},
        "max_tokens",
        "unsupported_parameter",
        "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    ({"max_tokens": 1, "model": "o4-mini"}, "max_tokens", "unsupported_parameter", "Use"),
    ({"stop": "x", "model": "gpt-5-mini"}, "stop", "unsupported_parameter", "'stop'"),
    ({"stop": [1]}, "stop", "invalid_type", "array of strings"),
    ({"n": 0}, "n", "integer_below_min_value", ">= 1"),
    ({"n": 129}, "n", "integer_above_max_value", "<= 128"),
    ({"stream": "yes"}, "stream", "invalid_type", "a boolean"),
    ({"stream_options": {}}, "stream_options", None, "only allowed when 'stream'"),
    ({"stream": True, "stream_options": []}, "stream_options", "invalid_type", "an object"),
    ({"messages": None}, "messages", "missing_required_parameter", "Missing required"),
    ({"messages": "Hello"}, "messages", "invalid_type", "an array of objects, but got a string"),
    ({"messages": []}, "messages", "empty_array", "empty array"),
    ({"messages": ["x"]}, "messages[0]", "invalid_type", "an object"),
    ({"messages": [{}]}, "messages[0].role", "missing_required_parameter", "role"),
    ({"model": None}, None, None, "you must provide a model parameter"),
    ({"model": 1}, "model", "invalid_type", "a string"),
    ({"user": "[[sim: nonsense=1]]"}, None, "unknown_control", "nonsense"),
    (
        {"model": "sim-reject-stream-options", "stream": True, "stream_options": {}},
        "stream_options",
        "unknown_parameter",
        "'stream_options'",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code", "says"), REFUSED)
async def test_is_refused(
    provider: Provider, fields: dict[str, Any], param: str | None, code: str | None, says: str
) -> None:
    """400 in the real API's shape, and nothing is billed."""
    response = await provider.client.post("/v1/chat/completions", json=chat_body() | fields)

    error = response.json()["error"]
    assert response.status_code == 400
    assert list(error) == ["message", "type", "param", "code"]
    assert ("invalid_request_error", param, code) == (error["type"], error["param"], error["code"])
    assert says in error["message"]
    assert provider.line.cost_nano == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":NaN}', b"\xff", b"[" * 2000])
async def test_what_is_no_json_object_is_refused(provider: Provider, body: bytes) -> None:
    response = await provider.client.post("/v1/chat/completions", content=body)

    assert response.status_code == 400
    assert "We could not parse the JSON body" in response.json()["error"]["message"]


@pytest.mark.parametrize("model", ["gpt-9", "text-embedding-3-small", "sim-fly"])
async def test_an_unknown_model_is_refused(provider: Provider, model: str) -> None:
    response = await provider.chat(model=model)

    assert response.status_code == 404
    assert {
        "message": f"The model `{model}` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    } == response.json()["error"]


@pytest.mark.parametrize(
    ("header", "code", "says"),
    [
        ("Bearer sk-wrong-api-key", "invalid_api_key", "provided: sk-wrong****-key."),
        ("Bearer short", "invalid_api_key", "provided: short."),
        ("Basic sk-simulated", None, "You didn't provide an API key"),
        ("", None, "You didn't provide an API key"),
    ],
)
async def test_a_wrong_key_is_refused(
    provider: Provider, header: str, code: str | None, says: str
) -> None:
    response = await provider.client.get("/v1/models", headers={"authorization": header})

    assert response.status_code == 401
    assert code == response.json()["error"]["code"]
    assert says in response.json()["error"]["message"]


async def test_an_address_outside_of_the_api_is_unknown(provider: Provider) -> None:
    response = await provider.client.get("/elsewhere")

    assert response.status_code == 404
    assert response.json()["error"]["message"] == "Invalid URL (GET /elsewhere)"
