"""Some servers do not say what their answer is, or do not know: then it is what was asked for."""

import json
from typing import Any

import pytest

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Address, RequestFacts, Scanner, Watch
from proxy.gateway.paths import Way, find_way
from tests.gateway.dialects.chunks import USAGE, chunk, cut_every, event, relayed, said, words

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
CHAT = {"model": "some", "messages": HELLO}
ENDED = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
MESSAGE = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
UNITS = {"billed_units": {"input_tokens": 9, "output_tokens": 2}}
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "{one"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
}
INTERACTION = {
    "total_input_tokens": 9,
    "total_output_tokens": 2,
    "total_tokens": 11,
}
PLAIN = Usage(input=9, output=2)


def lines(*documents: Any) -> bytes:
    """A document a line."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


STREAMS: dict[str, tuple[str, dict[str, Any], bytes, Usage]] = {
    "chat": (
        "/v1/chat/completions",
        CHAT,
        event(chunk(said("one"))) + event(chunk(usage=USAGE)) + b"data: [DONE]\n\n",
        Usage(input=5, cached_input=4, output=2),
    ),
    "completions": (
        "/v1/completions",
        {"model": "some", "prompt": "Hello"},
        event({"choices": [], "usage": USAGE}),
        Usage(input=5, cached_input=4, output=2),
    ),
    "responses": (
        "/v1/responses",
        {"model": "some", "input": "Hello"},
        event({"type": "response.completed", "response": {"id": "resp_1", "usage": ENDED}}),
        PLAIN,
    ),
    "messages": (
        "/v1/messages",
        {**CHAT, "max_tokens": 8},
        event(MESSAGE) + event({"type": "message_delta", "usage": {"output_tokens": 2}}),
        PLAIN,
    ),
    "Gemini, in events": (
        "/v1beta/models/some:streamGenerateContent",
        {"contents": []},
        (event(GEMINI) * 2).replace(b"\n", b"\r\n"),
        PLAIN,
    ),
    "Gemini, in an array": (
        "/v1beta/models/some:streamGenerateContent",
        {"contents": []},
        json.dumps([GEMINI, GEMINI]).encode(),
        PLAIN,
    ),
    "interactions": (
        "/v1beta/interactions",
        {"model": "some", "input": "Hello"},
        event({"event_type": "interaction.completed", "interaction": {"usage": INTERACTION}}),
        PLAIN,
    ),
    "Cohere": (
        "/v2/chat",
        CHAT,
        event({"type": "message-end", "delta": {"usage": UNITS}}),
        PLAIN,
    ),
    "Cohere, before": (
        "/v1/chat",
        {"model": "some", "message": "Hello"},
        lines({"text": "one"}, {"event_type": "stream-end", "response": {"meta": UNITS}}),
        PLAIN,
    ),
    "Ollama": (
        "/api/chat",
        CHAT,
        lines({"done": False}, {"done": True, "prompt_eval_count": 9, "eval_count": 2}),
        PLAIN,
    ),
    "pictures": (
        "/v1/images/generations",
        {"model": "gpt-image-1", "prompt": "a cat"},
        event({"type": "image_generation.completed", "usage": ENDED}),
        Usage(input=9, image_output=2),
    ),
}


def asked(path: str, body: dict[str, Any], *, stream: bool) -> tuple[Way, RequestFacts]:
    way = find_way("POST", path.encode(), {})
    assert way is not None
    asks = json.dumps(body if "streamGenerate" in path else {**body, "stream": stream}).encode()
    address = Address(path.encode(), model=way.model, action=way.action)
    return way, way.dialect.inspect(asks, address)


def watching(way: Way, facts: RequestFacts, kind: str) -> Scanner:
    streamed = way.dialect.streamed(facts, kind)
    watch = Watch(
        streamed=streamed, strip_usage=False, output_cap=None, count=words, content_type=kind
    )
    return way.dialect.scanner(facts, watch)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream", "**redacted**"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_was_asked_for_is_read_as_one(name: str, kind: str) -> None:
    path, body, answer, expected = STREAMS[name]
    way, facts = asked(path, body, stream=True)

    assert way.dialect.streamed(facts, kind)
    for size in (1, 7, 100_000):
        scanner = watching(way, facts, kind)
        assert relayed(scanner, cut_every(answer, size)) == answer
        assert scanner.scan.usage == expected


@pytest.mark.parametrize("name", [name for name in STREAMS if "Gemini" not in name])
def test_one_that_nobody_asked_for_is_none(name: str) -> None:
    path, body, _, _ = STREAMS[name]
    way, facts = asked(path, body, stream=False)

    assert not way.dialect.streamed(facts, "")
    assert not way.dialect.streamed(facts, "application/json")
    assert not way.dialect.streamed(asked(path, body, stream=True)[1], "application/json")
