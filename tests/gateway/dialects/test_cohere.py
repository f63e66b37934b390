"""Cohere's own API: requests read and patched, answers scanned."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import NOWHERE, Dialect, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.cohere import ROUTES
from tests.gateway.dialects.chunks import compact, cut_every, named_event, relayed, words
from tests.gateway.dialects.documents import misplaced

BY_PATH: dict[str, Dialect] = {route.path: route.dialect for route in ROUTES}
CHAT, CHAT_V1 = BY_PATH["/v2/chat"], BY_PATH["/v1/chat"]
EMBED, RERANK = BY_PATH["/v2/embed"], BY_PATH["/v2/rerank"]
PNG = "data:image/png;base64,iVBORw0KGgo="


def facts(dialect: Dialect = CHAT, **document: Any) -> RequestFacts:
    return dialect.inspect(compact({"model": "command-a-03-2025", **document}), NOWHERE)


def saying(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_what_is_read() -> None:
    read = facts(messages=saying(), stream=True, max_tokens=5, tools=[{"type": "function"}])

    assert (read.model, read.stream, read.output_limit, read.has_tools, read.makes_text) == (
        "command-a-03-2025",
        True,
        5,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("dialect", "document", "why"),
    [
        (CHAT_V1, {"message": "x", "connectors": [{"id": "web-search"}]}, "connectors"),
        (CHAT_V1, {"message": "x", "conversation_id": "c"}, "conversation_id"),
        (CHAT_V1, {"prompt": "x", "preset": "p"}, "preset"),
        (CHAT, {"messages": saying(picture("https://x/y.png"))}, "image by url"),
        (EMBED, {"images": ["https://x/y.png"]}, "image by url"),
    ],
)
def test_what_no_body_bounds_has_a_reason(
    dialect: Dialect, document: dict[str, Any], why: str
) -> None:
    assert facts(dialect, **document).unbounded == (why,)


def test_pictures_in_the_body_are_held_for() -> None:
    assert facts(messages=saying(picture(PNG))).more_input == 16_384
    assert facts(EMBED, images=[PNG, PNG]).more_input == 2 * 16_384
    content = [{"type": "image_url", "image_url": {"url": PNG}}]
    assert facts(EMBED, inputs=[{"content": content}]).more_input == 16_384


@pytest.mark.parametrize(
    ("documents", "units"),
    [([], 1), (["a"] * 100, 1), (["a"] * 101, 2), (["a" * 250_000], 10), ([{"text": "a"}], 1)],
)
def test_a_rerank_is_held_for_by_its_search_units(documents: list[Any], units: int) -> None:
    read = facts(RERANK, query="q", documents=documents)

    assert (read.beside, read.makes_text) == (Usage(searches=units), False)


def test_several_generations_are_choices() -> None:
    assert facts(CHAT_V1, prompt="x", num_generations=3).choices == 3


def test_all_text_of_a_prompt_is_counted() -> None:
    read = facts(
        messages=[*saying({"type": "text", "text": "block"}), {"role": "system", "content": "system"}],
        tools=[{"function": {"name": "tool"}}],
        documents=[{"data": {"text": "document"}}],
    )  # fmt: skip
    older = facts(CHAT_V1, message="new", preamble="preamble", chat_history=[{"message": "old"}])
    text = CHAT.prompt_text(read) + CHAT_V1.prompt_text(older)

    for said in ("block", "system", "tool", "document", "new", "preamble", "old"):
        assert said in text


def test_a_body_is_patched_in_place() -> None:
    said = b'{ "model":"a",  "max_tokens" : 9, "messages":[] }'

    assert CHAT.patch(said, Patch()) is said
    assert CHAT.patch(said, Patch(output_cap=9)) is said
    assert (
        CHAT.patch(said, Patch(model="b", output_cap=5))
        == b'{ "model":"b",  "max_tokens" : 5, "messages":[] }'
    )
    assert json.loads(CHAT.patch(b'{"model":"a"}', Patch(output_cap=5)))["max_tokens"] == 5
    assert EMBED.patch(b'{"model":"a"}', Patch(model="b", output_cap=5)) == b'{"model":"b"}'


# Answers


def scanner(
    dialect: Dialect = CHAT,
    content_type: str = "text/event-stream",
    *,
    streamed: bool = True,
    paid: int | None = None,
) -> Scanner:
    watch = Watch(
        streamed=streamed,
        strip_usage=False,
        output_cap=None,
        paid_output=paid,
        count=words,
        content_type=content_type,
    )
    return dialect.scanner(RequestFacts(model="m"), watch)


def text(said: str) -> bytes:
    delta = {"message": {"content": {"text": said}}}
    return named_event("content-delta", index=0, delta=delta)


START = named_event("message-start", id="c-1", delta={"message": {"role": "assistant"}})
USAGE = {"billed_units": {"input_tokens": 4, "output_tokens": 5}, "tokens": {"input_tokens": 70}}
END = named_event("message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE})


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_is_billed_is_read_and_not_what_was_tokenized(size: int) -> None:
    stream = START + text("a b") + END
    watching = scanner()

    assert stream == relayed(watching, cut_every(stream, size))
    assert (watching.scan.usage, watching.scan.finished) == (Usage(input=4, output=5), True)
    assert watching.scan.upstream_call_id == "c-1"


def test_tokens_are_taken_where_nothing_else_is_said() -> None:
    watching = scanner(streamed=False)
    relayed(watching, [compact({"usage": {"tokens": {"input_tokens": 7, "output_tokens": 1}}})])

    assert watching.scan.usage == Usage(input=7, output=1)
    assert watching.scan.flags == ("billed_units_missing",)


def test_others_rerank_with_openais_usage() -> None:
    """VLLM and Jina serve the same endpoint."""
    watching = scanner(RERANK, streamed=False)
    relayed(watching, [compact({"id": "r", "usage": {"prompt_tokens": 7, "total_tokens": 7}})])

    assert watching.scan.usage == Usage(input=7)


@pytest.mark.parametrize(
    ("units", "usage"),
    [
        ({"images": 2}, Usage(images=2)),  # of Embed 3
        ({"input_tokens": 2, "image_tokens": 700, "images": 1}, Usage(input=2, image_input=700)),
    ],
)
def test_pictures_are_billed_once(units: dict[str, int], usage: Usage) -> None:
    """By the piece, or by tokens where those are counted."""
    watching = scanner(EMBED, streamed=False)
    relayed(watching, [compact({"embeddings": {}, "meta": {"billed_units": units}})])

    assert watching.scan.usage == usage


def test_all_that_is_said_is_counted() -> None:
    plan = named_event("tool-plan-delta", delta={"message": {"tool_plan": "I will"}})
    call = {"function": {"name": "f", "arguments": "a b"}}
    stream = (
        START
        + plan
        + named_event("tool-call-start", index=0, delta={"message": {"tool_calls": call}})
    )
    watching = scanner()
    relayed(watching, [stream])

    assert watching.count_output() == 2 + 2  # "fa b"


def test_a_stream_past_what_its_hold_pays_for_is_ended_as_at_its_limit() -> None:
    watching = scanner(paid=3)
    head = START + text("one two ")
    out = b"".join([watching.feed(head), watching.feed(text("three four five ") + END)])
    said = [e.partition(b"data: ")[2] for e in out[len(head) :].split(b"\n\n")[:-1]]

    assert out.startswith(head)
    assert said[-1] == b"[DONE]"
    assert [json.loads(s)["type"] for s in said[:-1]] == ["content-end", "message-end"]
    delta = json.loads(said[1])["delta"]
    assert (delta["finish_reason"], delta["usage"]["billed_units"]) == (
        "MAX_TOKENS",
        {"output_tokens": 2},
    )
    assert watching.scan.usage == Usage(input=4, output=5)


def test_so_is_one_of_v1() -> None:
    lines = [
        {"event_type": "stream-start", "generation_id": "g"},
        {"event_type": "text-generation", "text": "one two "},
        {"event_type": "text-generation", "text": "three four five "},
    ]
    stream = [compact({"is_finished": False, **line}) + b"\n" for line in lines]
    watching = scanner(CHAT_V1, "application/stream+json", paid=3)
    out = b"".join(map(watching.feed, stream)).splitlines()

    assert len(out) == 3
    last = json.loads(out[2])
    assert (last["event_type"], last["is_finished"], last["finish_reason"]) == (
        "stream-end",
        True,
        "MAX_TOKENS",
    )


_JSON: Final = misplaced(
    "usage",
    "meta",
    "billed_units",
    "tokens",
    "delta",
    "message",
    "content",
    "text",
    "tool_calls",
    "function",
    "response",
    "type",
    "event_type",
    "error",
    "documents",
    "input_tokens",
    "messages",
    "images",
    "generations",
    "model",
    "tool_call_delta",
)
_KINDS = st.sampled_from(["message-end", "stream-end", "content-delta", "text-generation", "error"])


@given(st.lists(st.tuples(_KINDS, _JSON), max_size=4), st.integers(1, 40), st.booleans())
def test_nothing_that_an_answer_says_breaks_the_scanner(
    events: list[tuple[str, Any]], size: int, lines: bool
) -> None:
    said = [
        json.dumps({"type": kind, "event_type": kind, "delta": value, "response": value}).encode()
        for kind, value in events
    ]
    stream = b"".join(s + b"\n" if lines else b"data: " + s + b"\n\n" for s in said)
    watching = scanner(content_type="application/x-ndjson" if lines else "text/event-stream")
    assert stream == relayed(watching, cut_every(stream, size))
    assert watching.count_output() >= 0
    whole = scanner(streamed=False)
    body = json.dumps(events[0][1] if events else {}).encode()
    assert body == relayed(whole, [body])
    assert whole.count_output() >= 0


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["model", "documents"]), _JSON))
def test_any_body_is_read_or_refused(document: dict[str, Any]) -> None:
    for dialect in BY_PATH.values():
        try:
            read = dialect.inspect(json.dumps({"model": "m", **document}).encode(), NOWHERE)
        except InvalidRequest:
            continue
        dialect.prompt_text(read)
