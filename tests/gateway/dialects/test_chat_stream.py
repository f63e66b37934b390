"""Streams of chat chunks that pass through unchanged."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.chat_stream import EVENT_TOO_LONG
from tests.gateway.dialects.chunks import (
    DONE,
    USAGE,
    asked,
    chunk,
    compact,
    cut_as,
    cut_every,
    ended,
    event,
    pretokens,
    relayed,
    said,
    stream_scanner,
    words,
)

READ = Usage(input=5, cached_input=4, output=2)
HELLO = (
    event(chunk(said("", role="assistant", refusal=None), usage=None))
    + event(chunk(said("Hello"), usage=None))
    + event(chunk(said(" wörld 😀"), usage=None))
    + event(chunk(ended(), usage=None))
    + event(chunk(usage=USAGE))
    + DONE
)


def scanned(stream: bytes, size: int = 10_000) -> Scan:
    scanner = stream_scanner()
    assert stream == relayed(scanner, cut_every(stream, size))
    return scanner.scan


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 50, 10_000])
def test_a_stream_is_read_and_passed_on(end: bytes, size: int) -> None:
    """In any pieces, in the middle of a character too, and with any line ends."""
    stream = HELLO.replace(b"\n", end)

    expected = Scan(
        usage=READ,
        usage_raw=compact(USAGE),
        served_model="gpt-4o-2024-08-06",
        service_tier="default",
        upstream_call_id="chatcmpl-1",
        finished=True,
    )
    assert expected == scanned(stream, size)


def test_pieces_are_passed_on_as_the_same_objects() -> None:
    """Nothing is copied, also where the piece ends inside an event."""
    scanner = stream_scanner()

    for piece in cut_every(HELLO, 100):
        assert scanner.feed(piece) is piece
    assert scanner.finish() == b""


ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
ONE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}


@pytest.mark.parametrize(
    ("who", "events"),
    [
        ("OpenAI", [chunk(said("a"), usage=None), chunk(ended(), usage=None), chunk(usage=USAGE)]),
        ("on the last chunk with a choice", [chunk(said("a")), chunk(ended(), usage=USAGE)]),
        ("Groq", [chunk(said("a")), chunk(ended(), x_groq={"id": "r", "usage": USAGE})]),
        ("Moonshot", [chunk(said("a")), chunk({**ended(), "usage": USAGE})]),
        ("growing in each chunk", [chunk(said("a"), usage=ONE), chunk(ended(), usage=USAGE)]),
        ("twice", [chunk(ended(), usage=USAGE), chunk(usage=USAGE)]),
        (
            "Ollama: zeros before",
            [chunk(said("a"), usage=ZERO), chunk(ended(), usage=ZERO), chunk(usage=USAGE)],
        ),
        ("zeros after", [chunk(ended(), usage=USAGE), chunk(usage=ZERO)]),
        ("null after", [chunk(usage=USAGE), chunk(ended(), usage=None)]),
        ("before the end", [chunk(usage=USAGE), chunk(said("a")), chunk(ended())]),
        ("before moderation", [chunk(usage=USAGE), chunk(moderation={"flagged": False})]),
    ],
)
def test_usage_is_found_wherever_it_stands(who: str, events: list[dict[str, Any]]) -> None:
    """The last object with a number over zero wins; never a sum."""
    stream = b"".join(map(event, events)) + DONE

    assert (who, READ) == (who, scanned(stream).usage)
    assert (who, READ) == (who, scanned(stream, 1).usage)


def test_usage_is_found_in_spaced_json() -> None:
    """As Python's json writes it, and with any other white space on the last chunk."""
    spaced = b'data: {"id": "x", "choices": [], "usage": {"prompt_tokens": 3}}\n\n'
    odd = b'data: {"choices":[],"usage"\t:  {"prompt_tokens" : 3}}\n\n'
    for stream in (spaced + event(chunk(said("a"))) * 3 + DONE, odd + DONE):
        assert Usage(input=3) == scanned(stream).usage


def test_usage_in_the_text_is_none() -> None:
    """Not in content, not nested in anything else."""
    text = 'say ,"usage":{"prompt_tokens":5}'
    stream = event(chunk(said(text))) + event(chunk(said("a"), x={"usage": USAGE})) + DONE

    assert scanned(stream).usage is None


@pytest.mark.parametrize("many", [1, 400])
def test_what_comes_late_in_a_long_stream_is_found(many: int) -> None:
    """Usage, error and tier in the midst of it, beyond what is kept at once."""
    body = event(chunk(said("word "))) * many
    stream = (
        body
        + event(chunk(usage=USAGE, service_tier="flex"))
        + body
        + event({"error": {"code": "oops"}})
        + body
    )

    scan = scanned(stream)

    assert (scan.usage, scan.error, scan.finished) == (READ, "oops", False)


def test_names_come_from_the_first_chunk_that_has_them() -> None:
    """Azure's first chunk has empty ones. The tier is the last one's: the provider may fall back."""
    stream = (
        event({"choices": [], "id": "", "model": "", "prompt_filter_results": []})
        + event(chunk(said("a"), service_tier="auto"))
        + event(chunk(ended(), id="other", model="other", service_tier="flex"))
        + DONE
    )

    scan = scanned(stream)

    assert (
        scan.served_model, scan.upstream_call_id, scan.service_tier,
    ) == ("gpt-4o-2024-08-06", "chatcmpl-1", "flex")  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "word"),
    [
        (event({"error": {"message": "x", "type": "server_error"}}), "server_error"),
        (event(chunk(ended(), error={"code": 502})), "502"),
        (b'event: error\ndata: {"message":"x"}\n\n', "error"),
        (b'event: error\ndata: {"error":{"code":"over_capacity"}}\n\n' + DONE, "over_capacity"),
        (event({"object": "error", "message": "x", "code": 400}) + DONE, "400"),
        (event(chunk(x_groq={"error": "over_capacity"})), "error"),
        (event(chunk(said('"error": an "error"'), error=None)), ""),
        (event(chunk(said("event: error\n\nerror"))), ""),
        (event(chunk(said("a"), usage={"error": 1})), ""),
    ],
)
def test_an_error_inside_a_200_is_noted(stream: bytes, word: str) -> None:
    """And goes through unchanged."""
    for size in (1, 10_000):
        assert word == scanned(stream, size).error


@pytest.mark.parametrize(
    ("stream", "finished"),
    [
        (DONE, True),
        (b"data:[DONE]\n\n", True),
        (b"data: [DONE]", True),
        (b"data: [DONE]\r\n\r\n: bye\r\n\r\n", True),
        (event({"object": "chat.completion.done", "choices": []}), True),
        (b"", False),
        (event(chunk(ended())), False),
        (event(chunk(said("data: [DONE]"))), False),
        (event(chunk(said("\ndata: [DONE]\n\n"))), False),
        (b": [DONE]\n\n", False),
    ],
)
def test_the_end_is_seen(stream: bytes, finished: bool) -> None:
    """[DONE], or Perplexity's last object; a stream that just stops is not finished."""
    assert finished == scanned(stream).finished


def test_half_an_answer_is_read_as_far_as_it_came() -> None:
    """The upstream died inside an event; a whole one without its empty line still counts."""
    whole = event(chunk(said("one two"), usage=None)) + event(chunk(usage=USAGE))
    assert scanned(whole[:-2]).usage == READ

    broken = stream_scanner()
    relayed(broken, [whole[:-30]])
    assert broken.scan.usage is None
    assert broken.count_output() == 2


CALL = 7  # tokens that wrap a call of a tool


@pytest.mark.parametrize("size", [1, 100, 100_000])
@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([{"content": "one"}, {"content": " two"}, {}], 2),
        ([{"role": "assistant", "content": "one"}, {"role": "assistant", "content": " tw"}, {"content": "o", "refusal": None}], 2),
        ([{"content": 'one "two'}, {"content": '\\ " {"delta":{"content":"x"}}'}], 4),
        ([{"content": "ünï"}, {"content": "\ncödé 😀"}], 3),
        ([{"reasoning_content": "so"}, {"reasoning_content": " then"}, {"content": "yes"}], 3),
        ([{"content": "", "reasoning": "so"}, {"content": "", "reasoning": " then"}], 2),
        ([{"refusal": "no"}, {"refusal": " way"}], 2),
        ([{"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}, {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}, {"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]}], 3 + CALL),
        ([{"function_call": {"name": "f"}}, {"function_call": {"arguments": "a b"}}], 3 + CALL),
        ([{"content": "one"}, {"content": " two", "extra": {"content": "x"}}], 2),
    ],
)  # fmt: skip
def test_the_output_is_counted_from_the_deltas(
    deltas: list[dict[str, Any]], expected: int, size: int
) -> None:
    """Pieces of one run are counted joined: a word in two chunks is one token."""
    stream = b"".join(event(chunk({"index": 0, "delta": d, "finish_reason": None})) for d in deltas)
    scanner = stream_scanner()

    relayed(scanner, cut_every(stream + DONE, size))

    assert expected == scanner.count_output()
    assert expected == scanner.count_output()


def test_choices_are_counted_apart() -> None:
    """The pieces of n choices come mixed; each is its own text."""
    scanner = stream_scanner(asked(stream=True, n=2))
    events = [
        chunk(said("on", 0)),
        chunk(said("tw", 1)),
        chunk(said("e", 0)),
        chunk(said("o three", 1)),
    ]

    relayed(scanner, [*map(event, events), DONE])

    assert scanner.count_output() == 3


@pytest.mark.parametrize("many", [3, 300, 3_000])
def test_a_long_output_is_counted_exactly(many: int) -> None:
    """Though most of it was read in blocks and folded into a number on the way."""
    pieces = ["Hel", "lo", " there", ", you", "! \n", "“Ja” ", "1", "2 3", ".", " it", "'s"]
    text = "".join(pieces) * many
    stream = b"".join(event(chunk(said(piece), usage=None)) for piece in pieces) * many
    scanner = stream_scanner(count=pretokens)

    relayed(scanner, cut_every(stream + DONE, 1000))

    assert pretokens(text) == scanner.count_output()


def test_it_is_read_when_asked_in_the_midst() -> None:
    """What the scan says and the count are those of what came so far, and nothing is read twice."""
    scanner = stream_scanner()
    first, rest = HELLO[:700], HELLO[700:]

    scanner.feed(first)
    assert (scanner.scan.served_model, scanner.scan.usage) == ("gpt-4o-2024-08-06", None)
    assert scanner.count_output() == 1
    scanner.feed(rest)

    assert scanner.scan.usage == READ
    assert words("Hello wörld 😀") == scanner.count_output()


def test_a_gigabyte_takes_flat_memory() -> None:
    """Measured on 60 MB: what is kept does not grow with what has passed."""
    block = event(chunk(said("word "), usage=None)) * 100
    scanner = stream_scanner(strip=True)
    for _ in range(20):
        scanner.feed(block)
    tracemalloc.start()

    for _ in range(2_000):
        scanner.feed(block)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 400_000
    assert scanner.count_output() == 202_000


def test_a_slow_stream_keeps_little() -> None:
    """What comes event by event comes slowly: there are many such streams, and each is read now and then."""
    piece = event(chunk(said("word "), usage=None))
    scanners = [stream_scanner(cap=100_000) for _ in range(10)]
    tracemalloc.start()

    for _ in range(300):
        for scanner in scanners:
            scanner.feed(bytes(bytearray(piece)))  # a copy, as each comes from a socket
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(piece) * 300 > 60_000
    assert kept / len(scanners) < 30_000
    assert [scanner.count_output() for scanner in scanners] == [300] * 10


@pytest.mark.parametrize("together", [1, 300])
def test_a_stream_far_from_its_cap_needs_no_vocabulary(together: int) -> None:
    """Loading one takes 75 MiB and holds everything up for a moment: not for what has fewer bytes than tokens."""
    asks: list[bool] = []

    def never() -> bool:
        asks.append(True)
        return False

    scanner = stream_scanner(cap=4_096, ready=never)
    piece = event(chunk(said("word "), usage=None))
    for _ in range(600 // together):
        scanner.feed(piece * together)

    assert not asks

    scanner.feed(piece * 300)  # now there may be as many tokens as bytes

    assert asks


@pytest.mark.parametrize("strip", [False, True])
def test_an_endless_line_is_passed_on_unread(strip: bool) -> None:
    """More than a mebibyte in one event: nothing is kept of it, and the next events are read."""
    line = b'data: {"choices":[{"delta":{"content":"' + b"x" * 3_000_000 + b'"}}],"usage":null}\n\n'
    stream = event(chunk(said("a"))) + line + HELLO.replace(b',"usage":null', b"")
    stream = stream.replace(event(chunk(usage=USAGE)), event(chunk(ended(), usage=USAGE)))
    scanner = stream_scanner(strip=strip)

    for size in (10_000, 2_000_000):
        scanner = stream_scanner(strip=strip)
        assert stream == relayed(scanner, cut_every(stream, size))
        assert (scanner.scan.usage, scanner.scan.flags) == (READ, (EVENT_TOO_LONG,))


def test_a_long_event_in_small_pieces_takes_linear_time() -> None:
    """A mebibyte of lines that never end an event, two bytes at a time."""
    scanner = stream_scanner(strip=True)

    for _ in range(250_000):
        scanner.feed(b"x\n")

    assert scanner.finish() == b"x\n" * 250_000


_PARTS = st.sampled_from(
    [b"data: ", b"data:", b"\n\n", b"\r\n\r\n", b"\n", b"\r", b"[DONE]", b'"usage":null', b',"usage":{"prompt_tokens":1}',
     b'"error"', b"event: error", b"{", b"}", b'"delta":{"content":"', b'"', b"\\", b"\xf0\x9f", b"\xef\xbb\xbf", HELLO, HELLO[:400]]
)  # fmt: skip
_STREAMS = st.lists(st.one_of(_PARTS, st.binary(max_size=8)), max_size=20).map(b"".join)


@given(
    _STREAMS,
    st.lists(st.integers(1, 200), min_size=1, max_size=20),
    st.one_of(st.none(), st.integers(100, 1000)),
)
def test_any_bytes_in_any_pieces_go_through(
    stream: bytes, sizes: list[int], cap: int | None
) -> None:
    """Nothing raises, nothing is changed, and the pieces make no difference to what is learned."""
    scanner = stream_scanner(cap=cap)
    pieces = cut_as(stream, sizes)

    assert stream == relayed(scanner, pieces)
    assert scanner.count_output() >= 0
