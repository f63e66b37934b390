"""What the mock provider answers, and the requests that ask for it."""

import json
from pathlib import Path
from typing import Any

# The mock writes the time of sending over it, the last digits of its microseconds: few, as a token is short.
PACED_STAMP = "0" * 9
STAMP_ROUND = 10 ** len(PACED_STAMP)
MODEL = "gpt-4o-2024-08-06"
_ID = "chatcmpl-Bq3vXkTt1nGdW0yq8sLr5jZcE7aUm"
_HEADERS = "x-request-id: req_7d1f0a3c5b9e4f62\r\nopenai-processing-ms: 211\r\nx-ratelimit-remaining-requests: 9999\r\n"
_END = b"0\r\n\r\n"
_WORDS = (
    "You are asked to shorten a paragraph on metering proxies. The proxy reads each request, finds "
    "out who calls, sets money aside for the most that the call can cost, passes the request on and "
    "writes down what the answer really cost. "
)


def write_answers(folder: Path) -> None:
    """The files that the mock sends."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {
        "json.http": _json_answer(),
        "stream30.http": _stream_answer(30),
        "stream300.http": _stream_answer(300),
        "paced.head": _stream_head() + _chunk(_event(_delta(role="assistant", content=""))),
        "paced.event": _chunk(_event(_delta(content=PACED_STAMP))),
        "paced.tail": _stream_tail(300),
    }
    for name, content in answers.items():
        (folder / name).write_bytes(content)


def request_body(
    answer: str,
    *,
    size: int = 1000,
    stream: bool = False,
    wants_usage: bool = True,
    max_tokens: int = 4096,
) -> bytes:
    """A chat request of ``size`` bytes that asks the mock for an answer by name.

    No answer of the mock has more tokens, or bytes, than 4096: as with a real provider, which keeps
    to its limit, nothing has to be counted to see that.
    """
    prompt = f"bench:{answer}; " + _WORDS * (size // len(_WORDS) + 1)
    body: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You answer briefly and to the point."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.2,
        "max_tokens": max_tokens,
    }
    if stream:
        body["stream"] = True
    if stream and wants_usage:
        body["stream_options"] = {"include_usage": True}
    room = size - len(json.dumps(body))
    body["messages"][1]["content"] = prompt[:room]
    return json.dumps(body).encode()


def json_body() -> bytes:
    """The answer that is no stream, without its head."""
    return _compact(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": 1741569952,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "The proxy holds money for each call, forwards it, and settles.",
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _usage(14),
            "service_tier": "default",
            "system_fingerprint": "fp_0a1b2c3d4e",
        }
    )


def _json_answer() -> bytes:
    body = json_body()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{_HEADERS}\r\n"
    return head.encode() + body


def events_of(count: int) -> list[bytes]:
    """The events of a stream: first the role, then text, the end, the usage, and ``[DONE]``."""
    words = (_event(_delta(content=f" word{n}")) for n in range(count - 3))
    first, last = _event(_delta(role="assistant", content="")), _event({}, finish="stop")
    return [first, *words, last, *_last_events(count - 3)]


def _stream_answer(count: int) -> bytes:
    return _stream_head() + b"".join(map(_chunk, events_of(count))) + _END


def _stream_head() -> bytes:
    return (
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        f"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n{_HEADERS}\r\n"
    ).encode()


def _stream_tail(tokens: int) -> bytes:
    return b"".join(map(_chunk, _last_events(tokens))) + _END


def _last_events(tokens: int) -> tuple[bytes, bytes]:
    usage = _compact({**_frame(), "choices": [], "usage": _usage(tokens)})
    return b"data: " + usage + b"\n\n", b"data: [DONE]\n\n"


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + _compact({**_frame(), "choices": [choice], "usage": None}) + b"\n\n"


def _delta(**fields: str) -> dict[str, Any]:
    return {**fields, "refusal": None} if "role" in fields else dict(fields)


def _frame() -> dict[str, Any]:
    return {
        "id": _ID,
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_0a1b2c3d4e",
    }


def _usage(output: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 219,
        "completion_tokens": output,
        "total_tokens": 219 + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
