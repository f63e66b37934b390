"""OpenAI's responses API: what its answers say, whole and as events."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.responses import Responses
from tests.gateway.dialects.chunks import compact, cut_every, relayed, words
from tests.gateway.dialects.documents import misplaced

RESPONSES = Responses()
FACTS = RequestFacts(model="gpt-5")
USAGE = {
    "input_tokens": 90,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 120,
}
BUCKETS = Usage(input=40, cached_input=40, cache_write=10, output=10, reasoning=20)


def response(**members: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "background": False,
        "error": None,
        "model": "gpt-5-2025-08-07",
        "output": [],
        "service_tier": "default",
        "usage": USAGE,
        **members,
    }


def scanner(*, streamed: bool = False, cap: int | None = None) -> Scanner:
    watch = Watch(streamed=streamed, strip_usage=False, output_cap=cap, count=words)
    return RESPONSES.scanner(FACTS, watch)


def read(**members: Any) -> Scan:
    watching = scanner()
    body = compact(response(**members))
    assert body == relayed(watching, [body])
    return watching.scan


def event(kind: str, **members: Any) -> bytes:
    data = compact({"type": kind, "sequence_number": 7, **members})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def said(text: str) -> bytes:
    return event("response.output_text.delta", output_index=0, content_index=0, delta=text)


BEGUN = event("response.created", response=response(status="in_progress", usage=None))


def ended(kind: str = "completed", **members: Any) -> bytes:
    return event(f"response.{kind}", response=response(status=kind, **members))


def test_the_usage_in_disjoint_buckets() -> None:
    scan = read()

    assert (scan.usage, scan.served_model, scan.upstream_call_id, scan.service_tier) == (
        BUCKETS,
        "gpt-5-2025-08-07",
        "resp_1",
        "default",
    )
    assert scan.finished
    assert not scan.error


@pytest.mark.parametrize("number", [2, 2.0])
def test_searches_are_counted_by_the_answers_own_count(number: float) -> None:
    """What it says of its tools goes before what its items show."""
    calls = [{"type": "web_search_call", "action": {"type": "search"}}] * 3
    scan = read(output=calls, tool_usage={"web_search": {"num_requests": number}})

    assert scan.usage is not None
    assert scan.usage.searches == 2


def test_items_are_counted_where_no_count_is_given() -> None:
    """Opening a page is no search; one sandbox may run code many times."""
    output = [
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call", "action": {"type": "find_in_page"}},
        {"type": "file_search_call"},
        {"type": "code_interpreter_call", "container_id": "a"},
        {"type": "code_interpreter_call", "container_id": "a"},
        {"type": "code_interpreter_call", "container_id": "b"},
    ]
    usage = read(output=output).usage

    assert usage is not None
    assert (usage.searches, usage.file_searches, usage.containers) == (1, 1, 2)


def test_the_old_search_tool_has_its_own_price() -> None:
    scan = read(
        tools=[{"type": "web_search_preview"}],
        output=[{"type": "web_search_call", "action": {"type": "search"}}],
    )

    assert scan.variants == ("web_search_preview",)


def test_pictures_are_a_part_at_their_own_models_price() -> None:
    drawn = {
        "input_tokens": 30,
        "input_tokens_details": {"image_tokens": 20, "text_tokens": 10},
        "output_tokens": 1056,
        "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
        "total_tokens": 1086,
    }
    scan = read(
        tools=[{"type": "image_generation", "model": "gpt-image-1-mini"}],
        tool_usage={"image_gen": drawn, "web_search": {"num_requests": 0}},
    )
    pictures = Usage(input=10, image_input=20, image_output=1056)

    assert [("", BUCKETS), ("gpt-image-1-mini", pictures)] == [
        (p.model, p.usage) for p in scan.parts
    ]
    assert scan.usage == BUCKETS + pictures


def test_an_older_answers_picture_is_estimated_by_its_size() -> None:
    call = {
        "type": "image_generation_call",
        "result": "aGk=",
        "quality": "low",
        "size": "1024x1024",
    }
    scan = read(output=[call])

    assert scan.usage == BUCKETS + Usage(image_output=272)
    assert "image_estimated" in scan.flags


def test_xais_stated_cost_and_tools() -> None:
    usage = USAGE | {
        "num_sources_used": 9,
        "cost_in_usd_ticks": 33534000,
        "server_side_tool_usage_details": {"web_search_calls": 1, "x_search_calls": 2},
    }
    scan = read(usage=usage)

    assert scan.stated_nano == 3_353_400
    assert scan.usage is not None
    assert scan.usage.searches == 3


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_background_response_is_followed(status: str) -> None:
    scan = read(status=status, background=True, usage=None)

    assert (scan.usage, scan.follow, scan.finished) == (None, "/resp_1", True)


def test_one_that_is_over_is_not_followed() -> None:
    assert read(background=True).follow == ""
    assert read(status="queued", background=True, usage=None, id="../x?y").follow == ""


def test_an_answer_without_usage_is_counted() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "one two"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "three four five"}]},
        {"type": "function_call", "name": "six", "arguments": "seven"},
    ]
    watching = scanner()
    relayed(watching, [compact(response(usage=None, output=output))])

    assert (watching.scan.usage, watching.count_output()) == (None, 7 + 3 + 7)


# The stream


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_every_end_has_its_usage_however_the_stream_is_cut(kind: str, size: int) -> None:
    body = BEGUN + said("Hello ") + said("world") + ended(kind)
    watching = scanner(streamed=True)

    assert body == relayed(watching, cut_every(body, size))
    assert (watching.scan.usage, watching.scan.finished) == (BUCKETS, True)


def test_a_routers_choice_is_billed() -> None:
    """It is made after the first event, and named at the end."""
    begun = event("response.created", response=response(model="model-router", usage=None))
    watching = scanner(streamed=True)
    relayed(watching, [begun + said("Hello") + ended(model="gpt-5-mini-2025-08-07")])
    assert watching.scan.served_model == "gpt-5-mini-2025-08-07"

    watching = scanner(streamed=True)
    relayed(watching, [begun + said("Hello") + ended(model=None)])
    assert watching.scan.served_model == "model-router"


def test_a_failure_is_told() -> None:
    failed = ended("failed", usage=None, error={"code": "server_error", "message": "secret"})
    watching = scanner(streamed=True)
    relayed(watching, [BEGUN + failed])

    assert (watching.scan.error, watching.scan.finished) == ("server_error", True)


def test_an_error_event_ends_the_stream() -> None:
    watching = scanner(streamed=True)
    relayed(watching, [BEGUN, event("error", code="rate_limit_exceeded", message="secret")])

    assert (watching.scan.error, watching.scan.finished) == ("rate_limit_exceeded", True)


def test_a_broken_stream_is_counted() -> None:
    call = event("response.function_call_arguments.delta", output_index=1, delta='{"a b":1}')
    watching = scanner(streamed=True)
    relayed(watching, [BEGUN, said("one two "), said("three"), call])

    assert (watching.scan.usage, watching.scan.finished, watching.count_output()) == (
        None,
        False,
        5 + 3,
    )
    assert watching.scan.upstream_call_id == "resp_1"


def test_a_background_stream_that_breaks_is_followed() -> None:
    begun = event(
        "response.created", response=response(status="queued", background=True, usage=None)
    )
    watching = scanner(streamed=True)
    relayed(watching, [begun, said("one")])

    assert watching.scan.follow == "/resp_1"


def test_past_its_cap_a_stream_ends_as_incomplete() -> None:
    watching = scanner(streamed=True, cap=2)
    out = relayed(watching, [BEGUN, *(said(f"word{i} ") for i in range(9)), ended()])
    *_, last = [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: ")]

    assert watching.cut
    assert out.startswith(BEGUN)
    assert b"event: response.incomplete\n" in out
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["id"] == "resp_1"


@given(st.binary(max_size=400), st.integers(1, 40), st.booleans())
def test_any_bytes_pass_unchanged(body: bytes, size: int, streamed: bool) -> None:
    watching = scanner(streamed=streamed)

    assert body == relayed(watching, cut_every(body, size))
    watching.count_output()


_ODD: Final = misplaced(
    "usage", "output", "type", "tool_usage", "tools", "image_gen", "input_tokens", "content"
)


@given(_ODD, _ODD, st.booleans())
def test_any_json_is_read_without_an_exception(usage: Any, output: Any, streamed: bool) -> None:
    whole = response(usage=usage, output=output, tool_usage=output, tools=usage)
    body = event("response.completed", response=whole) if streamed else compact(whole)
    watching = scanner(streamed=streamed)

    assert body == relayed(watching, [body])
    watching.count_output()
