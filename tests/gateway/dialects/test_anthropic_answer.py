"""What an answer of Anthropic's messages says."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.anthropic import AnthropicMessages
from proxy.gateway.dialects.base import RequestFacts, Scanner, UsagePart, Watch
from tests.gateway.dialects.chunks import compact, cut_every, named_event, relayed, words
from tests.gateway.dialects.documents import misplaced

MESSAGES = AnthropicMessages()
START_USAGE = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 5,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 7,
    "service_tier": "standard",
    "inference_geo": "us",
}


def start(usage: Any = START_USAGE) -> bytes:
    message = {"id": "msg_1", "model": "claude-sonnet-4-6", "content": [], "usage": usage}
    return named_event("message_start", message=message)


def text(said: str, index: int = 0) -> bytes:
    delta = {"type": "text_delta", "text": said}
    return named_event("content_block_delta", index=index, delta=delta)


OPEN = named_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSE = named_event("content_block_stop", index=0)
STOP = named_event("message_stop")


def end(**usage: Any) -> bytes:
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return CLOSE + named_event("message_delta", delta=delta, usage=usage) + STOP


def scanner(
    *,
    streamed: bool = True,
    model: str = "model",
    paid: int | None = None,
    request: dict[str, Any] | None = None,
) -> Scanner:
    watch = Watch(
        streamed=streamed, strip_usage=False, output_cap=None, paid_output=paid, count=words
    )
    return MESSAGES.scanner(RequestFacts(model=model, document=request or {}), watch)


def scanned(stream: bytes, **made: Any) -> Scanner:
    watching = scanner(**made)
    assert stream == relayed(watching, [stream])
    return watching


@pytest.mark.parametrize("size", [1, 3, 7, 5000])
def test_a_delta_overwrites_what_it_names(size: int) -> None:
    """Not only the output: with tools of the server, the input grows too."""
    stream = start() + OPEN + text("a b c") + end(input_tokens=50, output_tokens=9)
    watching = scanner()

    assert stream == relayed(watching, cut_every(stream, size))
    scan = watching.scan
    assert scan.usage == Usage(
        input=50, cached_input=5, cache_write=10, cache_write_1h=20, output=9
    )
    assert (scan.finished, scan.lacks_input, scan.lacks_output) == (True, False, False)
    assert (scan.served_model, scan.upstream_call_id) == ("claude-sonnet-4-6", "msg_1")
    assert (scan.service_tier, scan.variants) == ("standard", ("us",))


def test_more_written_than_split_is_for_five_minutes() -> None:
    scan = scanned(start() + end(cache_creation_input_tokens=100, output_tokens=1)).scan

    assert scan.usage is not None
    assert (scan.usage.cache_write, scan.usage.cache_write_1h) == (80, 20)


def test_unless_the_request_asks_for_nothing_but_an_hour() -> None:
    block = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    for other, expected in (([], (0, 100)), ([block | {"cache_control": {}}], (80, 20))):
        usage = START_USAGE | {
            "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 0}
        }
        request = {"system": [block, *other]}
        stream = start(usage) + end(cache_creation_input_tokens=100, output_tokens=1)
        read = scanned(stream, request=request).scan.usage
        assert read is not None
        assert (read.cache_write, read.cache_write_1h) == expected


def test_thinking_is_part_of_the_output() -> None:
    scan = scanned(
        start() + end(output_tokens=9, output_tokens_details={"thinking_tokens": 6})
    ).scan

    assert scan.usage is not None
    assert (scan.usage.output, scan.usage.reasoning, scan.usage.output_tokens) == (3, 6, 9)


def test_searches_are_counted_and_fetches_are_free() -> None:
    tools = {"web_search_requests": 2, "web_fetch_requests": 3}
    scan = scanned(start() + end(output_tokens=9, server_tool_use=tools, speed="fast")).scan

    assert scan.usage is not None
    assert scan.usage.searches == 2
    assert scan.variants == ("fast", "us")


def iteration(kind: str, input_: int, output: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "input_tokens": input_, "output_tokens": output, **more}


def document(usage: dict[str, Any], *content: dict[str, Any]) -> bytes:
    return compact({"id": "msg_1", "type": "message", "content": content, "usage": usage})


def test_what_stands_only_in_iterations_is_billed_beside() -> None:
    """Each at its own model; the thinking is in the last of the answer's own."""
    usage = {
        "input_tokens": 30,
        "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 4},
        "iterations": [
            iteration("compaction", 5000, 90, cache_read_input_tokens=70),
            iteration("message", 10, 5),
            iteration("advisor_message", 200, 80, model="claude-opus-4-7"),
            iteration("message", 20, 7),
        ],
    }
    scan = scanned(document(usage), streamed=False).scan
    expected = (
        UsagePart("", Usage(input=5000, cached_input=70, output=90)),
        UsagePart("", Usage(input=10, output=5)),
        UsagePart("claude-opus-4-7", Usage(input=200, output=80)),
        UsagePart("", Usage(input=20, output=3, reasoning=4)),
    )

    assert expected == scan.parts
    assert scan.usage == Usage(input=5230, cached_input=70, output=178, reasoning=4)
    assert scan.flags == ()


def test_iterations_that_leave_something_out_do_not_hide_it() -> None:
    usage = {
        "input_tokens": 30,
        "output_tokens": 12,
        "iterations": [iteration("message", 10, 12)],
    }
    scan = scanned(document(usage), streamed=False).scan

    assert scan.usage == Usage(input=30, output=12)
    assert scan.flags == ("usage_inconsistent",)


def test_a_stream_that_breaks_has_its_input_and_is_counted() -> None:
    watching = scanned(start() + OPEN + text("one two ") + text("three"))

    assert watching.scan.usage is not None
    assert watching.scan.usage.input_tokens == 56
    assert (watching.scan.lacks_output, watching.scan.finished) == (True, False)
    assert watching.count_output() == 3


def test_the_count_is_in_the_models_own_tokens() -> None:
    """Claude's vocabulary makes more of the same text, and wraps a call of a tool."""
    call = {"type": "input_json_delta", "partial_json": '{"a": 1}'}
    stream = start() + text("one two") + named_event("content_block_delta", index=1, delta=call)

    assert scanned(stream, model="claude-sonnet-4-6").count_output() == 5 + 3 + 38


def test_a_start_without_counts_leaves_both_sides_to_be_counted() -> None:
    """Ollama's; its last event has the output."""
    nothing = {"input_tokens": 0, "output_tokens": 0}
    broken = scanned(start(nothing) + OPEN + text("a")).scan
    whole = scanned(start(nothing) + OPEN + text("a") + end(output_tokens=3)).scan

    assert (broken.lacks_input, broken.lacks_output) == (True, True)
    assert (whole.lacks_input, whole.lacks_output, whole.usage) == (True, False, Usage(output=3))


def test_an_error_inside_a_stream_is_noted() -> None:
    error = named_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    scan = scanned(start() + OPEN + text("a") + error).scan

    assert (scan.error, scan.finished) == ("overloaded_error", False)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_stream_past_what_its_hold_pays_for_is_ended_as_at_its_limit(line_end: str) -> None:
    """The SDK sees a whole message that stopped at ``max_tokens``."""
    lines = line_end.encode()
    head = (start() + OPEN + text("one two ")).replace(b"\n", lines)
    rest = (text("three four five ") + end(output_tokens=9)).replace(b"\n", lines)
    watching = scanner(paid=3)
    out = b"".join([watching.feed(head), watching.feed(rest), watching.finish()])

    assert watching.cut
    assert out.startswith(head)
    ended = out[len(head) :].replace(lines, b"\n").split(b"\n\n")[:-1]
    said = [json.loads(e.partition(b"data: ")[2]) for e in ended]
    assert [s["type"] for s in said] == ["content_block_stop", "message_delta", "message_stop"]
    assert said[1]["delta"]["stop_reason"] == "max_tokens"
    assert said[1]["usage"] == {
        "input_tokens": 21,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "output_tokens": 2,
    }
    assert watching.scan.usage is not None
    assert watching.scan.usage.output == 9  # what came later is read all the same


def test_a_documents_text_is_counted_where_no_usage_came() -> None:
    content = (
        {"type": "text", "text": "one two"},
        {"type": "tool_use", "name": "f", "input": {"a": "b c"}},
        {"type": "image"},
    )
    watching = scanner(streamed=False)
    relayed(watching, [compact({"content": content})])

    assert (watching.scan.usage, watching.count_output()) == (None, 4)


_ODD: Final = misplaced(
    "usage",
    "iterations",
    "type",
    "message",
    "delta",
    "error",
    "output_tokens",
    "cache_creation",
    "content",
    "index",
    "server_tool_use",
    "input_tokens",
    "model",
)
_KINDS = ("message_start", "message_delta", "content_block_delta", "message_stop", "error", "")


@given(
    st.lists(st.tuples(st.sampled_from(_KINDS), st.dictionaries(st.sampled_from(
        ["usage", "message", "delta", "error", "type", "content"]), _ODD, max_size=3)), max_size=5),
    st.integers(1, 50), st.booleans(),
)  # fmt: skip
def test_nothing_that_an_answer_says_breaks_the_scanner(
    events: list[tuple[str, dict[str, Any]]], size: int, streamed: bool
) -> None:
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **said}).encode())
        for kind, said in events
    )
    watching = scanner(streamed=streamed, model="claude-opus-5")
    assert stream == relayed(watching, cut_every(stream, size))
    assert watching.count_output() >= 0
    usage = watching.scan.usage
    assert usage is None or min(usage.input_tokens, usage.output_tokens) >= 0
    if streamed or not events:
        return
    watching = scanner(streamed=False)
    body = json.dumps(events[0][1]).encode()
    assert body == relayed(watching, [body])
    assert watching.count_output() >= 0


@given(st.binary(max_size=300), st.integers(1, 50), st.booleans())
def test_no_bytes_break_the_scanner(data: bytes, size: int, streamed: bool) -> None:
    watching = scanner(streamed=streamed)
    assert data == relayed(watching, cut_every(data, size))
    assert watching.count_output() >= 0
