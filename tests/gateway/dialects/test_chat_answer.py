"""Answers that are one JSON document."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Scan, Scanner, Watch
from proxy.gateway.dialects.chat_answer import note_plainly
from proxy.gateway.dialects.document_scan import TOO_LARGE, UNREADABLE
from proxy.gateway.dialects.notes import note_error, note_flag, note_names, note_usage, parse
from proxy.gateway.dialects.openai_chat import OpenAIChat
from tests.gateway.dialects.chunks import USAGE, asked, compact, cut_every, relayed, words
from tests.gateway.dialects.documents import spelled


def answer(*messages: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": i, "message": m, "finish_reason": "stop"} for i, m in enumerate(messages)
        ],
        "usage": USAGE,
        "service_tier": "default",
        **extra,
    }


def scanner() -> Scanner:
    watch = Watch(streamed=False, strip_usage=False, output_cap=None, count=words)
    return OpenAIChat().scanner(asked(), watch)


def scanned(body: bytes, size: int = 1000) -> tuple[Scan, Scanner]:
    watching = scanner()
    assert body == relayed(watching, cut_every(body, size))
    return watching.scan, watching


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answer_is_read_whole(size: int) -> None:
    """In whatever pieces it comes, with the provider's own usage object kept."""
    scan, _ = scanned(compact(answer({"content": "hi"})), size)

    expected = Scan(
        usage=Usage(input=5, cached_input=4, output=2),
        usage_raw=compact(USAGE),
        served_model="gpt-4o-2024-08-06",
        service_tier="default",
        upstream_call_id="chatcmpl-1",
        finished=True,
    )
    assert expected == scan


def test_a_tier_may_stand_in_the_usage() -> None:
    """As Mistral writes it."""
    body = answer({"content": "hi"}, usage={**USAGE, "service_tier": "flex"})
    del body["service_tier"]
    assert scanned(compact(body))[0].service_tier == "flex"


@pytest.mark.parametrize("around", [b"\xef\xbb\xbf", b" \r\n"])
def test_what_stands_around_an_answer_is_no_part_of_it(around: bytes) -> None:
    """A byte order mark, blank space; both are passed on."""
    body = around + compact(answer({"content": "hi"})) + around.removeprefix(b"\xef\xbb\xbf")
    for size in (1, 1000):
        scan, _ = scanned(body, size)
        assert (scan.usage, scan.flags) == (Usage(input=5, cached_input=4, output=2), ())


def test_pieces_are_passed_on_as_the_same_objects() -> None:
    watching, piece = scanner(), b'{"id":1}'

    assert watching.feed(piece) is piece


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ({"error": {"code": "rate_limit_exceeded", "message": "secret"}}, "rate_limit_exceeded"),
        ({"error": {"code": 429, "message": "secret"}}, "429"),
        ({"error": {"code": None, "type": "Server Error!"}}, "server_error_"),
        ({"error": "secret"}, "error"),
        ({"error": {"message": "secret"}}, "error"),
        ({"object": "error", "message": "secret", "code": 400}, "400"),
        ({"error": None}, ""),
    ],
)
def test_an_error_in_a_200_becomes_a_word(error: dict[str, Any], word: str) -> None:
    """Never its message, which may quote the prompt."""
    assert word == scanned(compact(error))[0].error


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"5", b'{"id":"x"', b"\xff\xfe", b"null"])
def test_what_is_no_object_is_passed_and_unfinished(body: bytes) -> None:
    scan, watching = scanned(body)

    assert (scan.usage, scan.finished) == (None, False)
    assert ((UNREADABLE,) if body else ()) == scan.flags
    assert watching.count_output() == 0


CALL, MORE = 7, 24  # tokens that wrap a call of a tool, and a further one


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"content": "one two three"}], 3),
        ([{"content": "one two"}, {"content": "three"}], 3),
        ([{"content": None, "refusal": "I can not"}], 3),
        ([{"reasoning_content": "so then", "content": "yes"}], 3),
        ([{"reasoning": "so then", "reasoning_content": "so then", "content": "yes"}], 3),
        ([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so then"}]}, {"type": "text", "text": "yes"}]}], 3),
        ([{"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}, {"custom": {"name": "g", "input": "x y"}}]}], 6 + CALL + MORE),
        ([{"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}], 2 + CALL),
        ([{"function_call": {"name": "f", "arguments": "{}"}}], 2 + CALL),
        ([{"audio": {"transcript": "good day"}}], 2),
        ([{}], 0),
        ([{"content": 5, "tool_calls": [5, {"function": 5}], "function_call": [], "refusal": {}}], 0),
    ],
)  # fmt: skip
def test_the_output_is_counted_from_the_messages(
    messages: list[dict[str, Any]], expected: int
) -> None:
    """All that a model writes: text, refusals, thoughts, calls; each run of it on its own."""
    _, watching = scanned(compact(answer(*messages, usage=None)))

    assert expected == watching.count_output()


def test_a_large_answer_is_passed_in_flat_memory() -> None:
    """Of more than 16 MiB only the beginning and the end are read: names and usage stand there."""
    tail = compact(answer({"content": ""}))
    beginning, end = tail.split(b'"choices"')
    body = beginning + b'"x":"' + b"y" * 40_000_000 + b'","choices"' + end
    watching = scanner()
    tracemalloc.start()

    for i in range(0, len(body), 65_536):
        watching.feed(body[i : i + 65_536])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    watching.finish()

    assert peak < 34_000_000
    scan = watching.scan
    assert (scan.served_model, scan.upstream_call_id) == ("gpt-4o-2024-08-06", "chatcmpl-1")
    assert (Usage(input=5, cached_input=4, output=2), True) == (scan.usage, scan.finished)
    assert scan.flags == (TOO_LARGE,)


def test_a_large_answer_in_one_piece_is_counted_by_its_size() -> None:
    """Without usage there is nothing better: four bytes a token, and it is flagged."""
    scan, watching = scanned(b'{"x":"' + b"y" * 20_000_000 + b'"}', 30_000_000)

    assert scan.flags == (TOO_LARGE,)
    assert watching.count_output() == 5_000_002


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_go_through(body: bytes, size: int) -> None:
    """Nothing raises, nothing is changed."""
    _, watching = scanned(body, size)

    assert watching.count_output() >= 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["usage", "choices", "message", "delta", "content", "tool_calls", "function", "model", "id",
                         "error", "x_groq", "prompt_tokens", "code", "service_tier", "index", "audio", "reasoning"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
def test_any_json_is_read(document: Any) -> None:
    """Members of every wrong type: no exception, and a whole object counts as finished."""
    scan, watching = scanned(json.dumps(document).encode())

    assert isinstance(document, dict) == scan.finished
    assert watching.count_output() >= 0


def read_at_length(body: bytes) -> Scan:
    """What the whole document says."""
    scan = Scan()
    document = parse(body)
    if document is None:
        note_flag(scan, UNREADABLE)
        return scan
    scan.finished = True
    note_names(scan, document)
    note_usage(scan, document)
    note_error(scan, document)
    return scan


@st.composite
def _nearly_usual(draw: st.DrawFn) -> bytes:
    """Answers with something missing, changed, given twice, or broken."""
    members: list[tuple[str, Any]] = list(answer({"content": "é\n"}).items())
    unusual: st.SearchStrategy[tuple[str, Any]] = st.tuples(
        st.sampled_from(["id", "model", "service_tier", "object", "error", "x_groq", "usage", "x"]),
        st.sampled_from([None, "", "error", 3, {}, [], USAGE, {"usage": USAGE}, {"code": "oops"}]),
    )
    members += draw(st.lists(unusual, max_size=2))
    members = draw(st.permutations(members))[draw(st.sampled_from([0, 0, 0, 1, 2])) :]
    random = draw(st.randoms(use_true_random=False))
    pieces = [spelled({name: value}, random)[1:-1] for name, value in members]
    body = b"{" + b",".join(pieces) + b"}"
    at = draw(st.integers(0, len(body)))
    noise = draw(
        st.sampled_from([b"", b"", b"", b"\xff", b"\xc3", b"\\ud800", b'"', b" ", b"1", b"\n"])
    )
    return body[:at] + noise + body[at:]


@given(_nearly_usual())
@settings(max_examples=500)
def test_the_short_way_notes_what_the_long_way_notes(body: bytes) -> None:
    """An answer that is not parsed whole says the same; where it could not, it is parsed whole."""
    scan, _ = scanned(body)

    assert read_at_length(body) == scan


def test_the_usual_answer_is_read_the_short_way() -> None:
    """Also with white space, and texts in any language."""
    body = json.dumps(answer({"content": "é"}), indent=2, ensure_ascii=False).encode()

    assert note_plainly(Scan(), body)
