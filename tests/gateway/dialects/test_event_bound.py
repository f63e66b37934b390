"""How much text events can hold, without reading them."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.answer_reader import Json
from proxy.gateway.dialects.base import Scan, Watch
from proxy.gateway.dialects.event_bound import EventBound, around
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.responses_answer import ResponsesEvents
from tests.gateway.dialects.chunks import compact, cut_as, letters, relayed
from tests.gateway.dialects.test_event_scan import Words

TEXTS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(
        ['data: {"type":"x","delta":"', '"', "\\", '","logprobs":[]}', "\n\ndata: {", "é"]
    ),
    min_size=3,
    max_size=12,
)


def delta(number: int, text: str) -> bytes:
    kind = "response.output_text.delta"
    event: Json = {"type": kind, "sequence_number": number, "item_id": "msg_1", "delta": text,
                   "logprobs": [], "obfuscation": "aBcDeFgH"[: number % 9]}  # fmt: skip
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact(event))


@given(TEXTS)
def test_the_bound_is_no_less_than_the_text(texts: list[str]) -> None:
    """Whatever the text says, also where it looks like what stands around it."""
    bound = EventBound()
    one, other = around(delta(0, "one word"), b"one word"), around(delta(1, "other"), b"other")
    assert one is not None
    assert other is not None
    bound.learn(one, other)

    stream = b"".join(delta(n, text) for n, text in enumerate(texts))
    text_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

    assert text_bytes <= bound.most(stream)
    assert bound.most(stream) < text_bytes * 6 + 20 * len(texts)


@given(TEXTS, st.integers(1, 60), st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_a_stream_is_cut_where_one_that_reads_each_event_cuts_it(
    texts: list[str], paid: int, sizes: list[int]
) -> None:
    """Never later than with the event that crosses what is paid for, and never before."""
    stream = b"".join(delta(n, text) for n, text in enumerate(texts))
    watch = Watch(
        streamed=True, strip_usage=False, output_cap=None, paid_output=paid, count=letters
    )
    scanner = EventScanner(ResponsesEvents(), EventStream(), watch)
    out = relayed(scanner, cut_as(stream, sizes))

    sums = [sum(map(len, texts[: n + 1])) for n in range(len(texts))]
    crossing = next((n for n, total in enumerate(sums) if total > paid + 2 * len(texts)), None)
    assert scanner.cut or crossing is None
    if not scanner.cut:
        assert out == stream
    else:
        assert sums[-1] > paid
        assert b"response.incomplete" in out


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n"]))
def test_a_long_stream_is_read_in_blocks_of_any_size(sizes: list[int], line_end: bytes) -> None:
    """Usage, end and text are found in pieces of all sizes, with either end of a line."""
    said = b"".join(b'data: {"text":"word %d "}\n\n' % n for n in range(60))
    stream = said + b'data: {"usage":7}\n\n: a comment\n\ndata: [DONE]\n\n'
    stream = stream.replace(b"\n", line_end)
    watch = Watch(streamed=True, strip_usage=False, output_cap=None, count=lambda t: len(t.split()))
    scanner = EventScanner(Words(), EventStream(), watch)

    assert relayed(scanner, cut_as(stream, sizes)) == stream
    assert scanner.scan == Scan(usage=Usage(output=7), finished=True)
    assert scanner.count_output() == 120
