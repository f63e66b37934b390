"""What Gemini's interactions say: whole, and in events, with and without names of their own."""

from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import NOWHERE, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.gemini_interactions import Interactions
from tests.gateway.dialects.anything import JSON
from tests.gateway.dialects.chunks import compact, cut_every, event, relayed, words

USAGE: dict[str, Any] = {
    "total_tokens": 33,
    "total_input_tokens": 12,
    "total_cached_tokens": 4,
    "total_output_tokens": 5,
    "total_tool_use_tokens": 9,
    "total_thought_tokens": 7,
}
TOKENS = {"input": 17, "cached_input": 4, "output": 5, "reasoning": 7}


def search(*queries: str) -> dict[str, Any]:
    return {"type": "google_search_call", "id": "a", "arguments": {"queries": list(queries)}}


def interaction(**members: Any) -> dict[str, Any]:
    return {"id": "v1_a", "object": "interaction", "model": "gemini-3-pro", **members}


def named(kind: str, **members: Any) -> bytes:
    return b"event: %b\n" % kind.encode() + event({"event_type": kind, **members})


def watching(*, streamed: bool) -> Scanner:
    watch = Watch(streamed=streamed, strip_usage=False, output_cap=None, count=words)
    return Interactions().scanner(RequestFacts(model="gemini-3-pro", stream=streamed), watch)


@pytest.mark.parametrize(
    ("steps", "counted", "searches"),
    [
        pytest.param([], None, 0, id="none"),
        pytest.param([search("a", "b"), search("c")], None, 3, id="each query is one"),
        pytest.param([search("a", "")], None, 1, id="an empty one is none"),
        pytest.param(
            [search("a", "b")],
            [{"type": "google_search", "count": 5}, {"type": "retrieval", "count": 2}],
            5,
            id="as the usage counts them",
        ),
    ],
)
@pytest.mark.parametrize("kept_in", ["steps", "outputs"])
def test_searches_are_billed(steps: list[Any], counted: Any, searches: int, kept_in: str) -> None:
    """As those of generateContent are: by the query."""
    usage = {**USAGE, "grounding_tool_count": counted}
    body = compact(interaction(status="completed", usage=usage, **{kept_in: steps}))
    scanner = watching(streamed=False)

    assert relayed(scanner, [body]) == body
    assert scanner.scan.usage == Usage(**TOKENS, searches=searches)


END = {"status": "completed", "usage": USAGE}
BEGUN = named("interaction.created", interaction=interaction(status="in_progress"))
STARTED = named("step.start", index=1, step={"type": "google_search_call", "arguments": {}})
ASKED = named("step.delta", index=1, delta=search("a", "b"))
SAID = named("step.delta", index=2, delta={"type": "text", "text": "one two"})


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(named("interaction.completed", interaction=interaction(**END)), id="short"),
        pytest.param(
            named(
                "interaction.completed", interaction=interaction(**END, steps=[search("a", "b")])
            ),
            id="whole",
        ),
        pytest.param(
            event({"event_type": "interaction.complete", "interaction": interaction(**END)}),
            id="without a name",
        ),
    ],
)
def test_a_stream_says_the_same_once(end: bytes, size: int) -> None:
    stream = BEGUN + STARTED + ASKED + SAID + end
    scanner = watching(streamed=True)

    assert relayed(scanner, cut_every(stream, size)) == stream
    assert scanner.scan.usage == Usage(**TOKENS, searches=2)
    assert (scanner.scan.served_model, scanner.scan.finished) == ("gemini-3-pro", True)


@given(JSON, JSON)
def test_no_step_is_too_strange(value: Any, other: Any) -> None:
    strange = {"type": "google_search_call", "arguments": value}
    for body, streamed in (
        (compact(interaction(usage=USAGE, steps=[strange, other])), False),
        (event({"index": other, "delta": strange, "step": value}), True),
    ):
        scanner = watching(streamed=streamed)
        assert relayed(scanner, [body]) == body
        assert scanner.count_output() >= 0


@pytest.mark.parametrize("streamed", [False, True])
def test_one_in_the_background_is_followed_until_it_is_over(streamed: bool) -> None:
    """Where its request asked for that; what a broken one says is never asked for."""
    facts = Interactions().inspect(
        b'{"agent":"deep-research","input":"x","background":true}', NOWHERE
    )
    watch = Watch(streamed=streamed, strip_usage=False, output_cap=None, count=words)
    started = interaction(status="in_progress")
    found = []
    for which in (facts, RequestFacts(model="m")):
        scanner = Interactions().scanner(which, watch)
        scanner.feed(
            named("interaction.start", interaction=started) if streamed else compact(started)
        )
        scanner.finish()
        found.append(scanner.scan.follow)
    ended = Interactions().scanner(facts, replace(watch, streamed=False))
    relayed(ended, [compact(interaction(status="completed", usage=USAGE))])

    assert (facts.background, found) == (True, ["/v1_a", ""])
    assert (ended.scan.follow, ended.scan.usage) == ("", Usage(**TOKENS))
