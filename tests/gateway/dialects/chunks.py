"""Streams and requests that several tests are made of."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from proxy.gateway.dialects.base import NOWHERE, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.openai_chat import OpenAIChat

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "total_tokens": 11,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
DONE = b"data: [DONE]\n\n"


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(value: Any) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def named_event(kind: str, **said: Any) -> bytes:
    """An event with its name beside it and in it."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact({"type": kind, **said}))


def chunk(*choices: Any, **extra: Any) -> dict[str, Any]:
    """A chunk as OpenAI writes it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": None,
        "choices": list(choices),
        **extra,
    }


def said(text: str, index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A choice that says something."""
    return {
        "index": index,
        "delta": {"content": text, **delta},
        "logprobs": None,
        "finish_reason": finish,
    }


def ended(index: int = 0, reason: str = "stop") -> dict[str, Any]:
    return {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}


def words(text: str) -> int:
    """A tokenizer for tests: a word is a token, whatever stands around it."""
    return len(text.split())


_PRETOKENS = re.compile(
    r"[^\r\n\w]?[^\W\d_]+(?:'(?:s|t|re|ve|m|ll|d))?|\d{1,3}| ?[^\s\w]+[\r\n/]*|_+|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def pretokens(text: str) -> int:
    """A tokenizer for tests that cuts where OpenAI's vocabularies cut before they merge."""
    return len(_PRETOKENS.findall(text))


def letters(text: str) -> int:
    """A tokenizer for tests: a character is a token."""
    return len(text)


def asked(**body: Any) -> RequestFacts:
    """What was read of a request."""
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **body}
    return OpenAIChat().inspect(json.dumps(document).encode(), NOWHERE)


def stream_scanner(
    facts: RequestFacts | None = None,
    *,
    strip: bool = False,
    cap: int | None = None,
    count: Callable[[str], int] = words,
    ready: Callable[[], bool] = lambda: True,
) -> Scanner:
    watch = Watch(streamed=True, strip_usage=strip, output_cap=cap, count=count, ready=ready)
    return OpenAIChat().scanner(facts or asked(stream=True), watch)


def relayed(scanner: Scanner, pieces: Iterable[bytes]) -> bytes:
    """What the client gets."""
    return b"".join([*(scanner.feed(piece) for piece in pieces), scanner.finish()])


def cut_every(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def cut_as(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut into pieces of these sizes, again and again."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        pieces.append(data[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    return pieces
