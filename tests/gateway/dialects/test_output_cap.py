"""A stream that runs past its output cap is ended by us; one that does not is left alone."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Scanner
from proxy.gateway.dialects.chat_chunks import event_text
from proxy.gateway.dialects.output_count import OutputCount
from proxy.gateway.dialects.sse import events, payload
from proxy.gateway.dialects.text_bound import TextBound
from tests.gateway.dialects.chunks import (
    DONE,
    USAGE,
    asked,
    chunk,
    cut_every,
    ended,
    event,
    letters,
    pretokens,
    relayed,
    said,
    stream_scanner,
    words,
)

FINAL = event(chunk(ended(reason="length")))


def story(many: int, **extra: Any) -> bytes:
    return b"".join(event(chunk(said(f" w{i % 10}"), **extra)) for i in range(many))


def run(scanner: Scanner, pieces: list[bytes]) -> tuple[bytes, int]:
    """What the client gets, and how many pieces the upstream was asked for."""
    out = b""
    for i, piece in enumerate(pieces):
        out += scanner.feed(piece)
        if scanner.cut:
            return out + scanner.finish(), i + 1
    return out + scanner.finish(), len(pieces)


def per_event(stream: bytes) -> list[bytes]:
    return list(events(stream))


@pytest.mark.parametrize("cap", [1, 2, 50, 700])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_it_ends_after_the_last_event_that_fits(cap: int, at_once: int) -> None:
    """However many events come at once, the client gets exactly the cap, and an ending."""
    pieces = per_event(story(1000) + event(chunk(ended())) + DONE)
    batches = [b"".join(pieces[i : i + at_once]) for i in range(0, len(pieces), at_once)]
    scanner = stream_scanner(cap=cap, count=words)

    out, used = run(scanner, batches)

    assert story(cap) + FINAL + DONE == out
    assert (True, True, cap) == (scanner.cut, scanner.scan.cut, scanner.count_output())
    assert used == -(-(cap + 1) // at_once)


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("many", [0, 1, 50, 1000])
def test_an_answer_that_ends_at_its_cap_is_left_alone(many: int, strip: bool) -> None:
    """The provider's own ending goes through, to the byte, in any pieces."""
    stream = story(many) + event(chunk(ended(reason="length"))) + DONE
    for pieces in (per_event(stream), cut_every(stream, 1000), [stream]):
        scanner = stream_scanner(strip=strip, cap=many, count=words)
        assert stream == relayed(scanner, pieces)
        assert not scanner.cut


@given(
    st.lists(
        st.sampled_from([" a", "a", "bc", ".", " ", "\n", "的", " 12", '"', "é"]),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 500),
)
def test_it_is_never_cut_before_its_cap(pieces: list[str], size: int) -> None:
    """For any text, in any pieces: counted as it comes, it has as many tokens as counted at once."""
    stream = b"".join(event(chunk(said(piece))) for piece in pieces) + DONE
    tokens = pretokens("".join(pieces))

    enough = stream_scanner(cap=tokens, count=pretokens)
    assert stream == relayed(enough, cut_every(stream, size))

    less = stream_scanner(cap=max(0, tokens - 3), count=pretokens)
    out, _ = run(less, per_event(stream))
    assert less.cut or tokens <= 3
    assert out.endswith(FINAL + DONE) == less.cut
    assert less.count_output() <= max(0, tokens - 3) + 2


def test_half_an_event_that_is_out_already_is_completed() -> None:
    """It can't be taken back: the ending comes after it, and it counts."""
    stream = story(3)
    pieces = [stream[:-100], stream[-100:], story(1)]
    scanner = stream_scanner(cap=2, count=words)

    out, used = run(scanner, pieces)

    assert stream + FINAL + DONE == out
    assert (used, scanner.count_output()) == (2, 3)


def test_half_an_event_that_is_held_back_is_not_sent() -> None:
    """Where usage is hidden, an event waits to be whole: so the end is exact there."""
    stream = story(3, usage=None)
    scanner = stream_scanner(cap=2, strip=True, count=words)

    out, _ = run(scanner, [stream[:-100], stream[-100:], story(1)])

    assert story(2) + FINAL + DONE == out
    assert scanner.count_output() == 2


def test_nothing_comes_after_the_end() -> None:
    """But what the upstream still says of its usage is the bill, and is read."""
    scanner = stream_scanner(cap=2, count=words)
    out = scanner.feed(story(3))

    assert out.endswith(DONE)
    assert b"" == scanner.feed(story(500)) == scanner.feed(event(chunk(usage=USAGE)) + DONE)
    assert scanner.finish() == b""
    assert Usage(input=5, cached_input=4, output=2) == scanner.scan.usage
    assert scanner.count_output() == 2


def test_a_client_that_asked_for_usage_gets_it() -> None:
    """Counted: the prompt by the template's recipe, the output as far as it was relayed."""
    facts = asked(stream=True, stream_options={"include_usage": True})
    scanner = stream_scanner(facts, cap=2, count=words)

    out, _ = run(scanner, [story(5, usage=None)])

    prompt = 3 + 3 + 1 + 1  # the answer's opening, the message's wrapping, its role, its text
    usage = {"prompt_tokens": prompt, "completion_tokens": 2, "total_tokens": prompt + 2}
    expected = [
        event(chunk(ended(reason="length"), usage=None)),
        event(chunk(usage=usage)),
        DONE,
    ]
    assert story(2, usage=None) + b"".join(expected) == out


def test_the_prompt_is_as_the_provider_counted_it_where_it_did() -> None:
    """Some send usage with each chunk."""
    facts = asked(stream=True, stream_options={"include_usage": True})
    scanner = stream_scanner(facts, cap=2, count=words)
    growing = b"".join(
        event(chunk(said(" w"), usage={"prompt_tokens": 77, "completion_tokens": i, "total_tokens": 77 + i}))
        for i in range(5)
    )  # fmt: skip

    out, _ = run(scanner, [growing])

    last = json.loads(payload(per_event(out)[-2]))
    assert last["usage"] == {"prompt_tokens": 77, "completion_tokens": 2, "total_tokens": 79}


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (
            b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"obfuscation":"x"}\n\n',
            b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}\n\ndata: [DONE]\n\n',
        ),
        (
            b'data:{"choices":[{"index":0,"delta":{"content":"TEXT"}}],"created":1,"model":"m"}\r\n\r\n',
            b'data:{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"created":1,"model":"m"}\r\n\r\ndata:[DONE]\r\n\r\n',
        ),
        (
            b'data: {"id": "\xc3\xa9", "choices": [{"index": 0, "delta": {"content": "TEXT"}}]}\n\n',
            b'data: {"id": "\xc3\xa9", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n',
        ),
        (
            b'data: {"choices":[{"index":0,"delta":{"content":"TEXT"}}]}\r\r',
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\r\rdata: [DONE]\r\r',
        ),
    ],
)  # fmt: skip
def test_the_end_is_in_the_streams_own_style(sample: bytes, expected: bytes) -> None:
    """Names, their order, spacing and line ends are those of the events before."""
    short, long = sample.replace(b"TEXT", b"a"), sample.replace(b"TEXT", b"bcdefg")
    scanner = stream_scanner(cap=2, count=letters)

    out, _ = run(scanner, [short, long])

    assert short + expected == out


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x" * 9},
        {"refusal": "x" * 9},
        {"reasoning_content": "x" * 9},
        {"reasoning": "x" * 9},
        {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 9}}]},
        {"function_call": {"arguments": "x" * 9}},
    ],
)
def test_whatever_the_model_writes_is_output(delta: dict[str, Any]) -> None:
    """Also what is no content."""
    one = event(chunk({"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}))
    scanner = stream_scanner(cap=20, count=letters)

    out, _ = run(scanner, [one] * 10)

    assert one * 2 + FINAL + DONE == out


def test_the_cap_is_for_all_choices_together() -> None:
    """And each of them gets its ending."""
    facts = asked(stream=True, n=2)
    stream = b"".join(event(chunk(said(f" w{i}", i % 2))) for i in range(10))
    scanner = stream_scanner(facts, cap=4, count=words)

    out, _ = run(scanner, [stream])

    endings = event(chunk(ended(0, "length"))) + event(chunk(ended(1, "length")))
    assert b"".join(per_event(stream)[:4]) + endings + DONE == out


def test_a_model_of_another_vocabulary_has_some_room() -> None:
    """DeepSeek makes fewer tokens of a text than OpenAI: what it ended at the cap must go through."""
    facts = asked(model="deepseek-chat", stream=True)
    stream = story(120) + event(chunk(ended(reason="length"))) + DONE

    left_alone = stream_scanner(facts, cap=100, count=words)
    assert stream == relayed(left_alone, per_event(stream))

    scanner = stream_scanner(facts, cap=100, count=words)
    assert story(150) + FINAL + DONE == run(scanner, per_event(story(500)))[0]


def test_a_model_that_searches_by_itself_is_not_cut() -> None:
    """Its own steps are in the stream, and not in the output that is limited."""
    stream = story(500) + DONE
    for body in ({"model": "groq/compound"}, {"tools": [{"type": "web_search"}]}):
        scanner = stream_scanner(asked(stream=True, **body), cap=100, count=words)
        assert stream == relayed(scanner, per_event(stream))


def test_tokens_are_only_counted_where_the_cap_could_be_near() -> None:
    """A token has at least a byte: a text of fewer bytes than the cap is never tokenized."""
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return words(text)

    scanner = stream_scanner(cap=5_000, count=count)
    for piece in per_event(story(1_500)):
        scanner.feed(piece)

    assert counted == []
    for piece in per_event(story(3_000)):
        scanner.feed(piece)
    assert sum(map(len, counted)) < 3 * 3 * 4_500
    assert not scanner.cut


_TEXT = st.sampled_from(
    [" a", "bc", ".", " ", "\n", "的", " 12", '"', "é", "", " longer words here"]
)
_DELTAS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    *[st.fixed_dictionaries({"content": _TEXT})] * 6,
    st.fixed_dictionaries({"role": st.just("assistant"), "content": _TEXT}),
    st.fixed_dictionaries({"content": st.none(), "reasoning_content": _TEXT}),
    st.fixed_dictionaries({"reasoning_content": _TEXT, "content": _TEXT}),
    st.just({}),
)


@st.composite
def _streams(draw: st.DrawFn) -> list[bytes]:
    """Streams that are plain for most of the time, in a frame of one kind or another."""
    extra: dict[str, Any] = draw(st.sampled_from([{}, {"usage": None}, {"obfuscation": "x"}]))
    deltas = draw(st.lists(_DELTAS, min_size=1, max_size=60))
    repeat = draw(st.integers(1, 5))
    return [
        event(
            chunk(
                {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None},
                **{name: value and value * (i % 3) for name, value in extra.items()},
            )
        )
        for i, delta in enumerate(deltas * repeat)
    ]


def cut_event_by_event(stream: list[bytes], cap: int) -> int:
    """How many events fit, by looking at each."""
    output = OutputCount(pretokens)
    for i, one in enumerate(stream):
        for place, text in event_text(one):
            output.add(place, text)
        if output.at_least() > cap:
            return i
    return len(stream)


@given(_streams(), st.integers(0, 150), st.lists(st.integers(1, 40), min_size=1, max_size=4))
@settings(max_examples=300)
def test_the_cut_is_where_looking_at_each_event_puts_it(
    stream: list[bytes], cap: int, batches: list[int]
) -> None:
    """However many come at once: what is skipped or counted in one go can't hide the crossing."""
    pieces: list[bytes] = []
    at = 0
    while at < len(stream):
        many = batches[len(pieces) % len(batches)]
        pieces.append(b"".join(stream[at : at + many]))
        at += many
    scanner = stream_scanner(cap=cap, count=pretokens)

    out, _ = run(scanner, pieces)

    fits = cut_event_by_event(stream, cap)
    assert (fits < len(stream)) == scanner.cut
    assert out.startswith(b"".join(stream[:fits]))
    assert len(per_event(out)) == (fits + 2 if scanner.cut else len(stream))


@given(_streams(), st.integers(0, 400), st.integers(1, 3000))
def test_the_bound_of_a_text_is_never_too_low(stream: list[bytes], start: int, size: int) -> None:
    """Whatever was learned from the pieces before, and wherever a piece begins and ends."""
    bound = TextBound()
    for piece in cut_every(b"".join(stream)[start:], size):
        texts = [text for one in events(piece) for _, text in event_text(one)]

        assert len("".join(texts).encode()) <= bound.most(piece)


def test_the_bound_of_a_text_is_close() -> None:
    """Else it would be of no use."""
    for extra in ({}, {"usage": None}):
        assert TextBound().most(story(1000, **extra)) <= 3 * 1000 + 100


def test_a_long_text_is_not_looked_at_closely() -> None:
    text = story(1000)

    assert TextBound().most(text, enough=100) == len(text)
