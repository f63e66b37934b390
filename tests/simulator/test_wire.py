"""The bytes of a chat answer are those of the real API."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.provider import Provider, chat_body, content, events

FIXED = "[[sim: id=abc, output_tokens=2]]"
HEAD = (
    '{"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1767225600,'
    '"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_simulated",'
    '"choices":['
)


async def test_a_whole_answer(provider: Provider) -> None:
    """Indented by two, a line feed at the end, fields in the real API's order."""
    response = await provider.chat(FIXED)

    text = json.loads(response.text)["choices"][0]["message"]["content"]
    expected = {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1767225600,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 18,
            "completion_tokens": 2,
            "total_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }
    assert json.dumps(expected, indent=2, ensure_ascii=False) + "\n" == response.text


async def test_a_stream(provider: Provider) -> None:
    response = await provider.chat(
        FIXED, stream=True, stream_options={"include_obfuscation": False}
    )

    first, second = re.findall(r'"content":"([^"]+)"', response.text)
    deltas = [
        '{"role":"assistant","content":"","refusal":null}',
        f'{{"content":"{first}"}}',
        f'{{"content":"{second}"}}',
    ]
    chunks = [
        f'{HEAD}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]}}'
        for delta in deltas
    ]
    last = f'{HEAD}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}]}}'
    expected = "".join(f"data: {data}\n\n" for data in [*chunks, last, "[DONE]"])
    assert expected == response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_usage_that_was_asked_for(provider: Provider) -> None:
    """It adds ``"usage":null`` to each chunk, and a chunk of its own: nothing else."""
    options = {"include_obfuscation": False}
    without = await provider.chat(FIXED, stream=True, stream_options=options)
    asked = await provider.chat(
        FIXED, stream=True, stream_options=options | {"include_usage": True}
    )

    *chunks, usage, done, _ = asked.text.split("\n\n")
    assert all(chunk.endswith('],"usage":null}') for chunk in chunks)
    stripped = "".join(f"{c}\n\n" for c in [*chunks, done]).replace(',"usage":null', "")
    assert without.text == stripped
    assert f'data: {HEAD}],"usage":{{"prompt_tokens":18,' in usage


async def test_padding_stands_last(provider: Provider) -> None:
    response = await provider.chat(stream=True, stream_options={"include_usage": True})

    ends = [
        re.search(r'"usage":(null|{.+}),"obfuscation":"\w*"}$', c) for c in _data(response.text)
    ]
    assert all(ends)


@pytest.mark.parametrize("model", ["gpt-5", "o4-mini"])
async def test_models_that_reason_have_no_logprobs(provider: Provider, model: str) -> None:
    streamed = await provider.chat(model=model, stream=True)
    whole = await provider.chat(model=model)

    assert "logprobs" not in streamed.text + whole.text


async def test_choices_are_interleaved(provider: Provider) -> None:
    """One piece of each in turn, and the ends of all at the end."""
    response = await provider.chat("[[sim: output_tokens=1]]", stream=True, n=2)

    chunks = events(response.text)
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1, 0, 1, 0, 1]
    assert content(chunks, 0) != content(chunks, 1)


async def test_the_same_request_has_the_same_text(provider: Provider) -> None:
    """Streamed or not; another seed says something else."""
    whole = (await provider.chat(seed=1)).json()["choices"][0]["message"]["content"]
    streamed = content(events((await provider.chat(seed=1, stream=True)).text))
    other = (await provider.chat(seed=2)).json()["choices"][0]["message"]["content"]

    assert whole == streamed
    assert whole != other


async def test_each_answer_says_that_it_is_simulated(provider: Provider) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/anything", "/nothing"):
        response = await provider.client.post(path, json=chat_body())

        assert response.headers["x-simulated"] == "true"
        assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])


def _data(text: str) -> list[str]:
    return [event for event in text.split("\n\n") if event not in ("", "data: [DONE]")]


# Against recordings of the real API...


def recordings() -> Iterator[dict[str, Any]]:
    folder = Path(
        os.environ.get("FAREBOX_EXCHANGES", Path(__file__).parents[3] / "shared" / "exchanges")
    )
    if not (folder / "replay.jsonl.gz").exists():
        pytest.skip("no recordings here")
    with gzip.open(folder / "replay.jsonl.gz", "rt") as lines:
        for line in lines:
            exchange = json.loads(line)
            if exchange["host"] == "api.openai.com" and exchange["path"].endswith(
                "/chat/completions"
            ):
                yield exchange


async def test_streams_have_the_shape_of_recordings(provider: Provider) -> None:
    """The skeleton of each kind of chunk is that of a recorded one."""
    recorded = {
        skeleton(event)
        for exchange in recordings()
        if exchange["stream"] and '"usage":null,"obfuscation"' in (exchange["response_text"] or "")
        for event in _data(exchange["response_text"])
    }

    response = await provider.chat(
        stream=True, stream_options={"include_usage": True}, max_tokens=3
    )

    ours = {skeleton(event) for event in _data(response.text)}
    assert set() == ours - recorded
    assert len(ours) == 4


async def test_whole_answers_have_the_shape_of_recordings(provider: Provider) -> None:
    recorded = {
        skeleton(exchange["response_text"])
        for exchange in recordings()
        if exchange["status"] == 200 and not exchange["stream"]
    }

    for model in ("gpt-4o", "gpt-5"):
        assert skeleton((await provider.chat(model=model)).text) in recorded


@pytest.mark.parametrize(
    ("status", "key"), [(401, "sk-wrong-key-0123456789"), (404, "sk-simulated")]
)
async def test_errors_have_the_shape_of_recordings(
    provider: Provider, status: int, key: str
) -> None:
    recorded = {skeleton(e["response_text"]) for e in recordings() if e["status"] == status}

    response = await provider.client.post(
        "/v1/chat/completions",
        json=chat_body(model="nothing"),
        headers={"authorization": f"Bearer {key}"},
    )

    assert status == response.status_code
    assert skeleton(response.text) in recorded


def skeleton(text: str) -> str:
    """The bytes without the strings that are values, and without numbers: keys, nulls and spaces are left."""
    text = re.sub(r'("(?:[^"\\]|\\.)*")(:?)', lambda m: m[0] if m[2] else '""', text)
    text = re.sub(r'("system_fingerprint": ?)null', r'\1""', text)  # recorded ones may have none
    return re.sub(r"(?<=[:\s])\d+\b", "0", text)
