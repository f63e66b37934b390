"""How Bedrock's answers are watched: whole, and as a stream of binary events."""

import zlib
from base64 import b64encode
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.aws_events import AwsEvents, message, wrapped
from proxy.gateway.dialects.base import RequestFacts, Scanner, Watch
from proxy.gateway.dialects.bedrock_converse import Converse
from proxy.gateway.dialects.bedrock_invoke import Invoke
from proxy.gateway.dialects.bedrock_usage import read_converse
from tests.gateway.dialects.anything import JSON
from tests.gateway.dialects.chunks import compact, cut_as, cut_every, relayed, words
from tests.gateway.dialects.test_bedrock_request import CLAUDE, CONVERSE, INVOKE, asked, invoked


def watching(
    facts: RequestFacts,
    *,
    streamed: bool = True,
    paid: int | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
    dialect: Converse | Invoke = CONVERSE,
) -> Scanner:
    return dialect.scanner(
        facts,
        Watch(
            streamed=streamed,
            strip_usage=False,
            output_cap=None,
            paid_output=paid,
            count=words,
            headers=headers or [],
        ),
    )


USAGE = {
    "inputTokens": 10,
    "outputTokens": 4,
    "cacheReadInputTokens": 3,
    "cacheReadInputTokenCount": 3,
    "cacheWriteInputTokens": 20,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 5}, {"ttl": "1h", "inputTokens": 15}],
    "totalTokens": 37,
}
BILLED = Usage(input=10, cached_input=3, cache_write=5, cache_write_1h=15, output=4)


def delta(text: str) -> bytes:
    return message("contentBlockDelta", compact({"contentBlockIndex": 0, "delta": {"text": text}}))


END = message("messageStop", b'{"stopReason":"end_turn"}') + message(
    "metadata", compact({"usage": USAGE, "serviceTier": {"type": "priority"}})
)
STREAM = delta("one two ") + delta('three "{ ') + delta("four") + END


@pytest.mark.parametrize("size", [1, 5, 13, 100_000])
def test_the_usage_is_in_the_last_event(size: int) -> None:
    scanner = watching(asked("converse-stream"))

    assert relayed(scanner, cut_every(STREAM, size)) == STREAM
    assert scanner.scan.usage == BILLED
    assert (scanner.scan.finished, scanner.scan.service_tier) == (True, "priority")


def test_a_whole_answer_says_the_same() -> None:
    scanner = watching(asked(), streamed=False)
    body = compact({"output": {}, "usage": USAGE, "serviceTier": {"type": "priority"}})
    relayed(scanner, [body])

    assert (scanner.scan.usage, scanner.scan.service_tier) == (BILLED, "priority")


def test_what_the_total_does_not_show_is_flagged() -> None:
    reading = read_converse({"inputTokens": 1, "outputTokens": 2, "totalTokens": 9})

    assert reading is not None
    assert reading.flags == ("usage_inconsistent",)


def test_an_exception_may_come_in_a_good_answer() -> None:
    """As an event; its message, which may quote the prompt, is not kept."""
    named = {":message-type": "exception", ":exception-type": "throttlingException"}
    exception = as_exception(named, b'{"message":"secret"}')
    scanner = watching(asked("converse-stream"))

    assert relayed(scanner, [delta("one "), exception]) == delta("one ") + exception
    assert (scanner.scan.error, scanner.scan.finished) == ("throttlingexception", False)


def as_exception(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(
        bytes((len(n),)) + n.encode() + b"\x07" + len(v).to_bytes(2, "big") + v.encode()
        for n, v in headers.items()
    )
    start = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    body = start + zlib.crc32(start).to_bytes(4, "big") + head + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("place", [3, 9, 40, -2])
def test_damage_is_passed_on_and_flagged(place: int) -> None:
    """A wrong checksum is the client's to judge."""
    broken = bytearray(delta("one two "))
    broken[place] ^= 1
    body = delta("zero ") + bytes(broken) + END
    scanner = watching(asked("converse-stream"))

    assert relayed(scanner, cut_every(body, 11)) == body
    assert scanner.scan.flags == ("event_damaged",)
    # Where only the message is damaged, what comes after it is read.
    assert (scanner.scan.usage == BILLED) == (place not in (3, 9))


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_stream_that_is_cut_ends_as_the_sdk_expects(size: int) -> None:
    scanner = watching(asked("converse-stream"), paid=3)
    out = relayed(scanner, cut_every(STREAM, size))

    assert scanner.cut
    buffer = EventStreamBuffer()
    buffer.add_data(out)
    events = [e.headers[":event-type"] for e in buffer]
    assert events[-2:] == ["messageStop", "metadata"]
    assert scanner.scan.usage == BILLED  # what came after the cut is read all the same


def test_an_event_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.gateway.dialects.framing.LONGEST_EVENT", 300)
    body = delta("x" * 5_000) + END
    scanner = watching(asked("converse-stream"))

    assert relayed(scanner, cut_every(body, 100)) == body
    assert (scanner.scan.usage, scanner.scan.flags) == (None, ("event_too_long",))


def test_frames_are_the_sdks() -> None:
    framing = AwsEvents()
    ours = [f for part in cut_every(STREAM, 7) for f in framing.feed(part)]
    buffer = EventStreamBuffer()
    buffer.add_data(STREAM)

    assert [framing.opened(f.raw) for f in ours] == [
        (e.headers[":event-type"], e.payload) for e in buffer
    ]
    assert [STREAM[f.start : f.end] for f in ours] == [f.raw for f in ours]


def test_bedrocks_own_counts_win() -> None:
    """Over the model's; for how long something is kept in the cache only the model says."""
    facts = invoked(CLAUDE, "invoke-with-response-stream", messages=[], anthropic_version="x")
    usage = {
        "input_tokens": 9,
        "output_tokens": 1,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_1h_input_tokens": 30},
    }
    metrics = {"inputTokenCount": 9, "outputTokenCount": 98, "cacheWriteInputTokenCount": 30}
    body = (
        wrapped({"type": "message_start", "message": {"id": "m", "usage": usage}})
        + wrapped({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a b"}})
        + wrapped({"type": "message_delta", "usage": {"output_tokens": 130}})
        + wrapped({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
    )
    scanner = watching(facts, dialect=INVOKE)

    assert relayed(scanner, cut_every(body, 17)) == body
    assert scanner.scan.usage == Usage(input=9, cache_write_1h=30, output=98)
    assert (scanner.scan.flags, scanner.scan.upstream_call_id) == (("usage_inconsistent",), "m")


def test_headers_count_where_the_body_does_not() -> None:
    facts = invoked("cohere.embed-english-v3", texts=["a"])
    headers = [
        (b"x-amzn-bedrock-input-token-count", b"7"),
        (b"x-amzn-bedrock-service-tier", b"flex"),
    ]
    scanner = watching(facts, streamed=False, headers=headers, dialect=INVOKE)
    relayed(scanner, [b'{"embeddings":[[0.1]]}'])

    assert (scanner.scan.usage, scanner.scan.service_tier) == (Usage(input=7), "flex")


CACHED_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "OpenAI counts it in": (
        "openai.gpt-oss-120b-1:0",
        {
            "prompt_tokens": 10,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
    ),
    "Claude counts it beside": (
        CLAUDE,
        {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 6},
    ),
}


@pytest.mark.parametrize("make", CACHED_BODIES)
def test_what_was_cached_is_counted_once(make: str) -> None:
    """Where only the body says that it was; the head's input is that of its model's format."""
    model, usage = CACHED_BODIES[make]
    head = [
        (b"x-amzn-bedrock-input-token-count", b"10"),
        (b"x-amzn-bedrock-output-token-count", b"4"),
    ]
    scanner = watching(invoked(model, messages=[]), streamed=False, headers=head, dialect=INVOKE)
    relayed(scanner, [compact({"usage": usage})])

    plain = 10 if model == CLAUDE else 4
    assert scanner.scan.usage == Usage(input=plain, cached_input=6, output=4)


# Anything at all...


@given(
    st.lists(JSON.map(compact) | st.binary(max_size=30), max_size=4),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.binary(max_size=40),
)
def test_no_answer_is_too_strange(
    pieces: list[bytes], invoke: bool, sizes: list[int], rest: bytes
) -> None:
    """Whatever comes: no exception, and every byte of it for the client."""
    body = b"".join(message("metadata", piece) for piece in pieces) + rest
    facts = invoked(CLAUDE, "invoke-with-response-stream", messages=[]) if invoke else asked()
    for streamed in (True, False):
        scanner = watching(facts, streamed=streamed, dialect=INVOKE if invoke else CONVERSE)
        assert relayed(scanner, cut_as(body, sizes)) == body
        scanner.count_output()


@given(JSON, st.sampled_from([CLAUDE, "amazon.nova-lite-v1:0", "meta.llama3", "x.y"]))
def test_no_event_of_a_model_is_too_strange(value: Any, model: str) -> None:
    scanner = watching(invoked(model, messages=[]), dialect=INVOKE)
    relayed(scanner, [message("chunk", compact({"bytes": b64encode(compact(value)).decode()}))])
    scanner.count_output()


@given(st.binary(max_size=60))
def test_no_bytes_are_too_strange(body: bytes) -> None:
    scanner = watching(asked("converse-stream"))

    assert relayed(scanner, cut_every(body, 3)) == body
