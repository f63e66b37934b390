"""What it costs to watch an answer, by dialect: ``python -m bench.scanners``, microseconds on this machine.

A stream of 300 events whose usage comes at its end, under a cap of 4096 tokens of output; once with
an event a read, and once with all of it in reads of 16 kB; and a whole answer as one document.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.core import microseconds
from proxy.gateway.dialects import aws_events
from proxy.gateway.dialects.base import Dialect, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.registry import ROUTES

EVENTS = 300
_READ = 16_384
_WORDS = (" the", " answer", ".", " to", " a", " question", ",", " forty", "-two", "\n")
Json = dict[str, Any]
_SSE, _LINES, _AWS = (
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
)


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of one stream, as they are on the wire."""

    name: str
    endpoint: str  # whose dialect scans it
    family: str
    content_type: str
    events: list[bytes]


def _data(document: Json) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def _named(document: Json) -> bytes:
    return b"event: %b\n" % str(document["type"]).encode() + _data(document)


def _line(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


TEXTS = [_WORDS[n % len(_WORDS)] for n in range(EVENTS)]


def _chat(texts: list[str]) -> list[bytes]:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-4o",
    }
    said = [
        _data({**head, "choices": [{"index": 0, "delta": {"content": t}, "finish_reason": None}]})
        for t in texts
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": EVENTS, "total_tokens": 9 + EVENTS}
    return [*said, _data({**head, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]


def _responses(texts: list[str]) -> list[bytes]:
    response: Json = {"id": "resp_1", "model": "gpt-5-mini", "status": "in_progress", "output": []}
    place = {"item_id": "msg_0123456789abcdef", "output_index": 0, "content_index": 0}
    said = [
        _named({"type": "response.output_text.delta", "sequence_number": n + 1, **place, "delta": t,
                "logprobs": [], "obfuscation": "4cJGAEZrw81U"[: n % 13]})
        for n, t in enumerate(texts)
    ]  # fmt: skip
    usage = {"input_tokens": 9, "output_tokens": EVENTS, "total_tokens": 9 + EVENTS}
    done = response | {"status": "completed", "usage": usage}
    return [
        _named({"type": "response.created", "sequence_number": 0, "response": response}),
        *said,
        _named({"type": "response.completed", "sequence_number": 400, "response": done}),
    ]


def _messages(texts: list[str]) -> list[Json]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6",
               "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}  # fmt: skip
    said = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}}
        for t in texts
    ]
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": EVENTS},
    }
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *said, {"type": "content_block_stop", "index": 0}, end, {"type": "message_stop"},
    ]  # fmt: skip


def _gemini(texts: list[str]) -> list[Json]:
    names = {"modelVersion": "gemini-2.5-flash", "responseId": "r-1"}
    count = {"promptTokenCount": 9, "candidatesTokenCount": EVENTS, "totalTokenCount": 9 + EVENTS}
    # Gemini tells its usage with each chunk.
    return [
        {"candidates": [{"content": {"parts": [{"text": t}], "role": "model"}, "index": 0}],
         "usageMetadata": count, **names}
        for t in texts
    ] + [{"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": count, **names}]  # fmt: skip


def _cohere(texts: list[str]) -> list[bytes]:
    units = {"input_tokens": 9, "output_tokens": EVENTS}
    said: list[Json] = [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": t}}}}
        for t in texts
    ]
    end = {"finish_reason": "COMPLETE", "usage": {"billed_units": units, "tokens": units}}
    start = {"id": "c-1", "type": "message-start", "delta": {"message": {"role": "assistant"}}}
    return [
        *map(_named, [start, *said, {"type": "message-end", "delta": end}]),
        b"data: [DONE]\n\n",
    ]


def _ollama(texts: list[str]) -> list[bytes]:
    head = {"model": "qwen3", "created_at": "2026-01-01T00:00:00Z"}
    said = [
        _line({**head, "message": {"role": "assistant", "content": t}, "done": False})
        for t in texts
    ]
    counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": EVENTS}
    return [*said, _line({**head, "message": {"role": "assistant", "content": ""}, **counts})]


def _converse(texts: list[str]) -> list[bytes]:
    def message(kind: str, payload: Json) -> bytes:
        return aws_events.message(kind, json.dumps(payload).encode())

    said = [
        message(
            "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": t}, "p": "abcdefgh"}
        )
        for t in texts
    ]
    usage = {"inputTokens": 9, "outputTokens": EVENTS, "totalTokens": 9 + EVENTS}
    return [
        message("messageStart", {"role": "assistant"}),
        *said,
        message("messageStop", {"stopReason": "end_turn"}),
        message("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


def streams(texts: list[str] = TEXTS) -> Iterator[Stream]:
    """One of each kind, that says these texts."""
    yield Stream("chat completions", "chat.completions", "openai", _SSE, _chat(texts))
    yield Stream("responses", "responses", "openai", _SSE, _responses(texts))
    yield Stream("anthropic", "messages", "anthropic", _SSE, [*map(_named, _messages(texts))])
    yield Stream(
        "gemini, events", "generate_content", "gemini", _SSE, [*map(_data, _gemini(texts))]
    )
    elements = [json.dumps(chunk).encode() for chunk in _gemini(texts)]
    array = [b"[" + elements[0], *(b"\n,\r\n" + element for element in elements[1:]), b"\n]\n"]
    yield Stream("gemini, array", "generate_content", "gemini", "application/json", array)
    yield Stream("cohere", "chat", "cohere", _SSE, _cohere(texts))
    yield Stream("ollama", "chat", "ollama", _LINES, _ollama(texts))
    yield Stream("bedrock converse", "converse", "bedrock", _AWS, _converse(texts))
    invoke = [*map(aws_events.wrapped, _messages(texts))]
    yield Stream("bedrock invoke", "invoke", "bedrock", _AWS, invoke)


class Document(NamedTuple):
    """A whole answer."""

    name: str
    endpoint: str
    family: str
    body: Json


def documents() -> Iterator[Document]:
    """One of each kind, with 300 tokens of text, and an embedding of 1,536 numbers."""
    text = "".join(TEXTS)
    said = {"role": "assistant", "content": text}
    counts = {"prompt_tokens": 9, "completion_tokens": EVENTS, "total_tokens": 9 + EVENTS}
    units = {"input_tokens": 9, "output_tokens": EVENTS}
    yield Document("chat completions", "chat.completions", "openai", {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1741569952, "model": "gpt-4o",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": counts,
    })  # fmt: skip
    message = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }
    yield Document("responses", "responses", "openai", {
        "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5-mini",
        "output": [message], "usage": {**units, "total_tokens": 9 + EVENTS},
    })  # fmt: skip
    yield Document("anthropic", "messages", "anthropic", {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": units,
    })  # fmt: skip
    chunk = _gemini([text])[0]
    yield Document("gemini", "generate_content", "gemini", chunk)
    yield Document("cohere", "chat", "cohere", {
        "id": "c-1", "finish_reason": "COMPLETE", "usage": {"billed_units": units, "tokens": units},
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
    })  # fmt: skip
    yield Document("ollama", "chat", "ollama", {
        "model": "qwen3", "message": said, "done": True, "prompt_eval_count": 9, "eval_count": EVENTS,
    })  # fmt: skip
    usage = {"inputTokens": 9, "outputTokens": EVENTS, "totalTokens": 9 + EVENTS}
    yield Document("bedrock converse", "converse", "bedrock", {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1},
    })  # fmt: skip
    vector = {"object": "embedding", "index": 0, "embedding": [n / 7919 for n in range(1536)]}
    yield Document("embeddings", "embeddings", "openai", {
        "object": "list", "data": [vector], "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    })  # fmt: skip


def read_whole(document: Document, body: bytes) -> object:
    """What is learned of a whole answer."""
    facts = RequestFacts("some-model", output_limit=4096)
    watch = Watch(False, False, 4096, len, content_type="application/json")
    scanner = dialect_at(document.endpoint, document.family).scanner(facts, watch)
    scanner.feed(body)
    scanner.finish()
    return scanner.scan.usage


def figure(document: Document) -> float:
    """Microseconds a call."""
    body = json.dumps(document.body, separators=(",", ":")).encode()
    if not read_whole(document, body):
        raise RuntimeError(f"{document.name}: no usage was found: the figures would mean nothing")
    return microseconds(lambda: read_whole(document, body))


def dialect_at(endpoint: str, family: str) -> Dialect:
    """The dialect of an endpoint."""
    for route in ROUTES:
        if route.endpoint == endpoint and route.dialect.family == family:
            return route.dialect
    raise LookupError(f"no dialect at {endpoint} of {family}")


def scanner_of(
    stream: Stream, cap: int | None = 4096, count: Callable[[str], int] = len
) -> Scanner:
    """A scanner for one such stream."""
    facts = RequestFacts("some-model", stream=True, wants_usage=True, output_limit=cap)
    watch = Watch(
        streamed=True,
        strip_usage=False,
        output_cap=cap,
        count=count,
        content_type=stream.content_type,
    )
    return dialect_at(stream.endpoint, stream.family).scanner(facts, watch)


def scanned(stream: Stream, pieces: list[bytes]) -> object:
    """What is learned of it. A piece is passed on as it is."""
    scanner = scanner_of(stream)
    for piece in pieces:
        scanner.feed(piece)
    scanner.finish()
    return scanner.scan.usage


def in_reads(events: list[bytes]) -> list[bytes]:
    """The stream as it comes where much of it comes at once."""
    whole = b"".join(events)
    return [whole[at : at + _READ] for at in range(0, len(whole), _READ)]


def figures(stream: Stream) -> tuple[float, float]:
    """Microseconds an event, one by one and in large reads."""
    one_by_one, together = stream.events, in_reads(stream.events)
    if not scanned(stream, one_by_one) or not scanned(stream, together):
        raise RuntimeError(f"{stream.name}: no usage was found: the figures would mean nothing")
    singly = microseconds(lambda: scanned(stream, one_by_one))
    at_once = microseconds(lambda: scanned(stream, together))
    return singly / len(stream.events), at_once / len(stream.events)


def main() -> int:
    """Print a line a dialect."""
    parser = argparse.ArgumentParser(prog="python -m bench.scanners", description=__doc__)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    options = parser.parse_args()
    gc.disable()
    found = {stream.name: figures(stream) for stream in streams()}
    whole = {document.name: figure(document) for document in documents()}
    if options.json:
        print(json.dumps({name: [round(us, 3) for us in pair] for name, pair in found.items()}))
        return 0
    print("  an event    in a large read")
    for name, (singly, at_once) in found.items():
        print(f"{singly:8.2f} µs {at_once:8.2f} µs   {name}")
    print("   a call")
    for name, us in whole.items():
        print(f"{us:8.2f} µs   {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
