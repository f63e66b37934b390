"""How Gemini's answers are watched: whole, as events, as an array of JSON that grows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Address, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.gemini import Gemini
from proxy.gateway.dialects.gemini_usage import read_interaction, read_usage_metadata
from tests.gateway.dialects.anything import JSON
from tests.gateway.dialects.chunks import compact, cut_as, cut_every, letters, relayed, words
from tests.gateway.dialects.test_gemini_request import HELLO, STREAM, STUDIO, asked


def watching(
    facts: RequestFacts,
    *,
    streamed: bool = True,
    content_type: str = "text/event-stream",
    cap: int | None = None,
    paid: int | None = None,
) -> Scanner:
    return STUDIO.scanner(
        facts,
        Watch(
            streamed=streamed,
            strip_usage=False,
            output_cap=cap,
            paid_output=paid,
            count=words,
            content_type=content_type,
        ),
    )


def chunk(text: str, finish: str | None = None, **usage: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"parts": [{"text": text}], "role": "model"},
        "index": 0,
    }
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5, **usage},
        "modelVersion": "gemini-2.5-flash-001",
        "responseId": "r1",
    }


LAST: dict[str, Any] = {
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 4,
    "toolUsePromptTokenCount": 2,
    "totalTokenCount": 14,
    "trafficType": "ON_DEMAND_FLEX",
}
CHUNKS = [chunk("one two "), chunk('three "[{" '), chunk("four", "STOP", **LAST)]
EVENTS = b"".join(b"data: " + compact(c) + b"\r\n\r\n" for c in CHUNKS)
ARRAY = b"[" + b"\n,\r\n".join(json.dumps(c, indent=1).encode() for c in CHUNKS) + b"\n]\n"


@pytest.mark.parametrize(
    ("body", "content_type"), [(EVENTS, "text/event-stream"), (ARRAY, "application/json")]
)
@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
def test_the_last_usage_of_a_stream_counts(body: bytes, content_type: str, size: int) -> None:
    """As server-sent events, and as an array of JSON that grows; whichever pieces it comes in."""
    scanner = watching(asked(STREAM), content_type=content_type, cap=1000)

    assert relayed(scanner, cut_every(body, size)) == body
    scan = scanner.scan
    assert scan.usage == Usage(input=7, output=3, reasoning=4)
    assert (scan.served_model, scan.upstream_call_id) == ("gemini-2.5-flash-001", "r1")
    assert (scan.service_tier, scan.finished) == ("flex", True)


def test_a_stream_without_usage_is_counted() -> None:
    scanner = watching(asked(STREAM))
    for c in CHUNKS[:2]:
        scanner.feed(b"data: " + compact({"candidates": c["candidates"]}) + b"\n\n")
    scanner.finish()

    assert scanner.scan.usage is None
    assert not scanner.scan.finished
    assert scanner.count_output() == 4


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("first", [True, False])
def test_an_array_that_is_cut_is_closed(size: int, first: bool) -> None:
    """So that the client reads it to its end, with the reason; also where the first element is too long."""
    paid = 1 if first else 3
    scanner = watching(asked(STREAM), content_type="application/json", paid=paid)
    out = relayed(scanner, cut_every(ARRAY, size))

    assert scanner.cut
    elements = json.loads(out)
    assert elements[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    if size == 100_000:
        assert len(elements) == (1 if first else 2)


def test_events_that_are_cut_end_with_an_event() -> None:
    scanner = watching(asked(STREAM), paid=3)
    out = relayed(scanner, [EVENTS])

    events = [json.loads(e.removeprefix(b"data: ")) for e in out.split(b"\r\n\r\n") if e]
    assert [e["candidates"][0].get("finishReason") for e in events] == [None, "MAX_TOKENS"]


def test_searches_are_counted_by_their_queries() -> None:
    """In whichever chunk they are, before or after the usage."""
    grounded = {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b", ""]}}]}
    for order in ([grounded, CHUNKS[2]], [CHUNKS[2], grounded]):
        scanner = watching(asked(STREAM))
        relayed(scanner, [b"data: " + compact(c) + b"\n\n" for c in order])

        assert scanner.scan.usage == Usage(input=7, output=3, reasoning=4, searches=2)


def test_an_error_inside_of_a_good_answer_is_noted() -> None:
    scanner = watching(asked(STREAM))
    relayed(scanner, [b'data: {"error":{"code":503,"status":"UNAVAILABLE"}}\n\n'])

    assert scanner.scan.error == "503"


def test_a_blocked_prompt_is_an_end() -> None:
    scanner = watching(asked(), streamed=False)
    body = compact(
        {
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
        }
    )
    relayed(scanner, [body])

    assert (scanner.scan.usage, scanner.scan.finished) == (Usage(input=4), True)


def test_modalities_have_buckets_of_their_own() -> None:
    reading = read_usage_metadata(
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 50,
            "totalTokenCount": 150,
            "cachedContentTokenCount": 60,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 30},
                {"modality": "AUDIO", "tokenCount": 50},
                {"modality": "IMAGE", "tokenCount": 20},
            ],
            "cacheTokensDetails": [
                {"modality": "TEXT", "tokenCount": 10},
                {"modality": "AUDIO", "tokenCount": 45},
                {"modality": "IMAGE", "tokenCount": 5},
            ],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 40}],
        }
    )

    assert reading is not None
    assert reading.usage == Usage(
        input=20,
        cached_input=10,
        audio_input=5,
        cached_audio_input=45,
        image_input=15,
        cached_image_input=5,
        output=10,
        image_output=40,
    )


# Anything at all...


@given(
    st.lists(JSON.map(compact) | st.binary(max_size=30), max_size=4),
    st.sampled_from(["text/event-stream", "application/json"]),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_no_answer_is_too_strange(
    pieces: list[bytes], content_type: str, streamed: bool, sizes: list[int]
) -> None:
    """Whatever comes: no exception, and every byte of it for the client."""
    if content_type == "application/json":
        body = b"[" + b",".join(pieces) + b"]"
    else:
        body = b"".join(b"data: " + piece + b"\n\n" for piece in pieces)
    scanner = watching(asked(STREAM), streamed=streamed, content_type=content_type)

    assert relayed(scanner, cut_as(body, sizes)) == body
    scanner.count_output()


@given(JSON)
def test_no_usage_is_too_strange(value: Any) -> None:
    """No count is negative, and what is cached is part of the input."""
    if isinstance(value, dict):
        for reading in (read_usage_metadata(value), read_interaction(value)):
            if reading is not None:
                assert all(n >= 0 for n in reading.usage.nonzero().values())


def test_a_region_costs_more_than_global() -> None:
    """Vertex's path says where a call is served."""
    path = b"/v1/projects/p/locations/%b/publishers/google/models/gemini-2.5-flash:generateContent"
    for location, variants in ((b"europe-west1", ("regional",)), (b"global", ())):
        address = Address(path % location, model="gemini-2.5-flash")
        facts = Gemini("vertex").inspect(compact(HELLO), address)

        assert facts.variants == variants
        assert watching(facts, streamed=False).scan.variants == variants


def test_the_memory_of_an_endless_element_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed on unread, and what comes after it is read."""
    monkeypatch.setattr("proxy.gateway.dialects.framing.LONGEST_EVENT", 5_000)
    long = compact(chunk("x" * 200_000))  # more than is looked at in one go
    body = b"[" + long + b"," + compact(CHUNKS[2]) + b"]"
    scanner = watching(asked(STREAM), content_type="application/json")

    assert relayed(scanner, cut_every(body, 100)) == body
    assert scanner.scan.usage == Usage(input=7, output=3, reasoning=4)
    assert scanner.scan.flags == ("event_too_long",)


def test_letters_count() -> None:
    """A thought is text as well, and apart from what is said."""
    thought = {"candidates": [{"content": {"parts": [{"text": "abc", "thought": True}]}}]}
    watch = Watch(streamed=False, strip_usage=False, output_cap=None, count=letters)
    scanner = STUDIO.scanner(asked(), watch)
    relayed(scanner, [compact(thought)])

    assert scanner.count_output() == 3
