"""Some gateways pack their answers though Farebox asks them not to: they are metered all the same."""

import gzip
import json

import pytest

from tests.e2e.conftest import Start
from tests.e2e.own_model import answered_with

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "model": "own"}
EVENTS = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": "one " * 400}}]},
    {**CHUNK, "choices": [], "usage": USAGE},
]
SAID, COUNTED = (b"data: " + json.dumps(e).encode() + b"\n\n" for e in EVENTS)
DONE = b"data: [DONE]\n\n"
WHOLE = json.dumps({"id": "c1", "model": "own", "choices": [], "usage": USAGE}).encode()


def answer(packed: bytes, kind: str) -> bytes:
    """In pieces of seven bytes."""
    pieces = [packed[i : i + 7] for i in range(0, len(packed), 7)]
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + body + b"0\r\n\r\n"


@pytest.mark.parametrize("parts", [1, 2])
async def test_a_packed_stream(start: Start, parts: int) -> None:
    """The client gets it plain, as it was asked for, and without the usage that we asked for."""
    stream = SAID + COUNTED + DONE
    half = len(stream) // parts
    packed = b"".join(gzip.compress(part) for part in (stream[:half], stream[half:]))
    got, row = await answered_with(start, answer(packed, "text/event-stream"), stream=True)

    assert got.content == SAID + DONE
    assert "content-encoding" not in got.headers
    assert (row["input_tokens"], row["output_tokens"]) == (9, 2)
    assert (row["usage_source"], row["outcome"]) == ("provider", "completed")


async def test_a_packed_document(start: Start) -> None:
    got, row = await answered_with(
        start, answer(gzip.compress(WHOLE), "application/json"), stream=False
    )

    assert got.content == WHOLE
    assert "content-encoding" not in got.headers
    assert (row["input_tokens"], row["usage_source"]) == (9, "provider")


async def test_what_only_says_that_it_is_packed_is_an_upstreams_failure(start: Start) -> None:
    got, row = await answered_with(start, answer(WHOLE, "application/json"), stream=False)

    assert got.status_code == 502
    assert row["outcome"] == "upstream_failed"
