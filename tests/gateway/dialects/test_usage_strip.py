"""Hiding the usage that we asked for: the client's bytes are those of an unasked stream."""

import json
import re
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.gateway.dialects.usage_strip import UsageStrip
from tests.gateway.dialects.chunks import DONE, USAGE, chunk, cut_as, cut_every, ended, event, said
from tests.gateway.dialects.documents import spelled

ASKED = (
    event(chunk(said("", role="assistant", refusal=None), usage=None, obfuscation="x"))
    + event(chunk(said('Hé 😀 ,"usage":null}\n\n'), usage=None, obfuscation="x1"))
    + event(chunk(ended(), usage=None, obfuscation="x12"))
    + event(chunk(usage=USAGE, obfuscation=""))
    + DONE
)
UNASKED = (
    event(chunk(said("", role="assistant", refusal=None), obfuscation="x"))
    + event(chunk(said('Hé 😀 ,"usage":null}\n\n'), obfuscation="x1"))
    + event(chunk(ended(), obfuscation="x12"))
    + DONE
)


def stripped(stream: bytes, pieces: list[bytes] | None = None) -> bytes:
    strip = UsageStrip()
    return b"".join([*(strip.feed(p) for p in pieces or [stream]), strip.finish()])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10_000])
def test_the_result_is_an_unasked_stream(size: int, end: bytes) -> None:
    """In any pieces and with any line ends, byte for byte."""
    asked, unasked = ASKED.replace(b"\n", end), UNASKED.replace(b"\n", end)

    assert unasked == stripped(asked, cut_every(asked, size))


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"id":"1","choices":[],"usage":null}', b'{"id":"1","choices":[]}'),
        (b'{"id":"1","choices":[],"usage":null,"p":"abc","q":1.5e-3}', b'{"id":"1","choices":[],"p":"abc","q":1.5e-3}'),
        (b'{"id": "1", "choices": [], "usage": null}', b'{"id": "1", "choices": []}'),
        (b'{"id":"1" ,\t"usage" : null , "choices":[]}', b'{"id":"1"  , "choices":[]}'),
        (b'{"usage":null,"id":"1"}', b'{"id":"1"}'),
        (b'{"usage":null}', b"{}"),
        (b'{"id":"1","usage":null,"choices":[{"a":"}\\""}]}', b'{"id":"1","choices":[{"a":"}\\""}]}'),
        (b'{"id":"1","us\\u0061ge":null}', b'{"id":"1","us\\u0061ge":null}'),
    ],
)  # fmt: skip
def test_a_null_usage_is_cut_wherever_it_stands(line: bytes, expected: bytes, size: int) -> None:
    """With one comma, and whatever white space there is; a name in escapes is nobody's."""
    stream = b"data: " + line + b"\n\n"

    assert b"data: " + expected + b"\n\n" == stripped(stream, cut_every(stream, size))


@pytest.mark.parametrize(
    "stream",
    [
        event(chunk(said('the text ,"usage":null} and "usage":null, here'))),
        event(chunk(said("a"), x={"y": 1, "usage": None})),
        event(chunk(said("a"), x_groq={"id": "r", "usage": None})),
        event(chunk({**ended(), "usage": None})),
        event(chunk({"index": 0, "usage": None})),
        event([{"usage": None}]),
        event('"usage":null'),
        event(chunk(ended(), usage=USAGE)),
        event(chunk(said(""), usage=USAGE)),
        event(chunk(usage=USAGE, moderation={"results": []})),
        event(chunk(usage=USAGE, prompt_filter_results=[{"prompt_index": 0}])),
        event(chunk(usage=USAGE, error={"code": 500})),
        event(chunk(usage=USAGE, x_groq={"id": "r", "error": "over_capacity"})),
        event(chunk(usage=USAGE, something_new={"a": 1})),
        event({"usage": USAGE}),
        event({"choices": None, "usage": USAGE}),
        event({"choices": {}, "usage": USAGE}),
        event(chunk(usage=5)),
        b': a comment,"usage":null}\n\n',
        b'event: x,"usage":null}\n\n',
        b'data: x\ndata: {"a":1\ndata: ,"usage":null}\n\n',
        b'data: {"a":{"b":1,"usage":null}\ndata: }\n\n',
        b'data: {"a":1,"usage":nu',
    ],
)
def test_what_has_a_meaning_stays(stream: bytes) -> None:
    """Usage in texts and in nested objects, on a chunk with a choice, beside an error or a filter's result."""
    for before in (b"", ASKED[: -len(DONE)]):
        around = stripped(before + stream + event(chunk(said("b"))))
        assert around.endswith(stream + event(chunk(said("b"))))
    assert stream == stripped(stream)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"obfuscation": "abc"},
        {"p": "abc", "provider": "x", "system_fingerprint": "fp"},
        {"moderation": None, "prompt_filter_results": [], "error": None},
        {"timings": {"prompt_n": 1}},
        {"x_groq": {"id": "r", "usage": USAGE}},
    ],
)
def test_a_chunk_of_usage_alone_is_dropped(extra: dict[str, Any]) -> None:
    """Names, padding, and members that hold nothing make no difference."""
    only = event(chunk(usage=USAGE, **extra))

    assert stripped(UNASKED[:-14] + only + DONE) == UNASKED
    assert stripped(UNASKED[:-14] + b"event: message\nid: 7\n" + only + DONE) == UNASKED
    assert stripped(UNASKED + only[:-2]) == UNASKED


def test_events_go_out_as_soon_as_they_are_whole() -> None:
    """And only an event that is not whole is held back."""
    strip = UsageStrip()
    first = event(chunk(said("a")))

    assert first == strip.feed(first)
    assert first == strip.feed(first + first[:50])
    assert strip.feed(first[50:-1]) == b""
    assert first + b": ping\n\n" == strip.feed(b"\n: ping\n\n")
    assert strip.finish() == b""


def test_a_piece_without_usage_is_the_same_object() -> None:
    piece = event(chunk(said("a")))

    assert UsageStrip().feed(piece) is piece


# A slow and simple reference: events line by line, chunks character by character.


def reference(stream: bytes) -> bytes:
    out = b""
    at = 0
    for match in re.finditer(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)", stream):
        out += reference_event(stream[at : match.end()])
        at = match.end()
    return out + reference_event(stream[at:])


def reference_event(event: bytes) -> bytes:
    lines = [line for line in re.split(rb"\r\n|\n|\r", event) if line.startswith(b"data:")]
    if len(lines) != 1:
        return event
    data = lines[0][5:].removeprefix(b" ")
    try:
        chunk = json.loads(data)
    except ValueError:
        return event
    if not isinstance(chunk, dict) or "usage" not in chunk:
        return event
    if chunk["usage"] is None:
        return event.replace(data, without_usage(data.decode()).encode())
    meaningless = {"choices", "usage", "id", "model", "object", "obfuscation"}
    only = isinstance(chunk["usage"], dict) and chunk.get("choices") == []
    blank = event[: len(event) - len(event.lstrip(b"\r\n"))]
    return blank if only and not any(chunk[name] for name in chunk.keys() - meaningless) else event


def without_usage(text: str) -> str:
    marks = separators(text)
    for k, (start, end) in enumerate(pairwise(marks)):
        member = text[start + 1 : end]
        if re.fullmatch(r'\s*"usage"\s*:\s*null\s*', member):
            space = member[len(member.rstrip()) :]
            if k:
                return text[:start] + space + text[end:]
            head = text[: start + 1] + member[: len(member) - len(member.lstrip())]
            last = text[end] == "}"
            return head + (space + text[end:] if last else text[end + 1 :].lstrip())
    raise AssertionError(text)


def separators(text: str) -> list[int]:
    """Where the outer object opens, its members are parted, and it closes: character by character."""
    marks = [text.index("{")]
    depth, inside, i = 0, False, 0
    while i < len(text):
        c = text[i]
        if inside:
            i += c == "\\"
            inside = c != '"'
        else:
            inside = c == '"'
            depth += (c in "{[") - (c in "]}")
            if (c == "," and depth == 1) or (c in "]}" and not depth):
                marks.append(i)
        i += 1
    return marks


_TEXTS = st.sampled_from(
    [
        "",
        "a",
        ',"usage":null}',
        '"usage":null,',
        "}\n\n",
        '{"usage":{}}',
        "é😀",
        '\\"',
        "data: ",
        "usage",
    ]
)
_NESTED = st.fixed_dictionaries(
    {}, optional={"usage": st.sampled_from([None, USAGE]), "content": _TEXTS}
)
_CHOICES = st.lists(st.fixed_dictionaries({"delta": _NESTED}), max_size=1)
_CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.sampled_from([None, None, USAGE]),
        "choices": _CHOICES,
        "id": _TEXTS,
        "obfuscation": _TEXTS,
        "moderation": st.sampled_from([None, {"flagged": True}]),
        "x": _NESTED,
        "n": st.integers(-5, 5),
    },
)  # fmt: skip


@st.composite
def _events(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(
            st.sampled_from(
                [
                    ": ping",
                    "data: [DONE]",
                    "event: x",
                    "data:",
                    "",
                    'data: {"a":',
                    "data: {}",
                    'data: {"usage" null}',
                ]
            )
        )
    members = list(draw(_CHUNKS).items())
    random = draw(st.randoms(use_true_random=False))
    random.shuffle(members)
    if kind < 6:
        text = json.dumps(
            dict(members), separators=(",", ":") if kind < 4 else None, ensure_ascii=False
        )
    else:
        # No escapes in names: "us\u0061ge" is not what any provider sends, and it is left alone.
        text = spelled(dict(members), random, names=False).decode()
        text = re.sub(r"[\r\n]+ *", " ", text)
    before = draw(st.sampled_from(["", "", "", "event: message\n", ": ping\n", "\n"]))
    return before + draw(st.sampled_from(["data: ", "data: ", "data:"])) + text


@given(
    st.lists(_events(), max_size=8),
    st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    st.booleans(),
    st.lists(st.integers(1, 300), min_size=1, max_size=10),
)
def test_it_does_what_the_reference_does(
    parts: list[str], end: str, whole: bool, sizes: list[int]
) -> None:
    """For any mixture of events, however they are written and cut: the allowed cuts and no others."""
    stream = "\n\n".join(parts) + ("\n\n" if whole else "")
    data = stream.replace("\n", end).encode()

    assert reference(data) == stripped(data, cut_as(data, sizes))


_ANY = st.lists(
    st.one_of(
        st.sampled_from([b"data: ", b"\n\n", b"\r\n", b"\r", b"\n", b',"usage":null', b'"usage":null,', b"{", b"}", b',"a":1', b': ,"usage":null}',
                         b'data: {"a":x,"usage":null}\n\n', b'data: {"choices":[],"usage":{"a":1}}\n\n', b"\xf0\x9f"]),
        st.binary(max_size=4),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(_ANY, st.integers(1, 60), st.randoms(use_true_random=False))
@example(b'data: {"choices":[],"usage":{"a":1}}\r\r\n', 1, Random(0))
def test_the_pieces_make_no_difference(stream: bytes, size: int, random: Random) -> None:
    """For any bytes: nothing raises, and what comes out does not depend on how they came in."""
    del random
    expected = stripped(stream)

    assert expected == stripped(stream, cut_every(stream, size))
    if b'"usage"' not in stream:
        assert stream == expected
