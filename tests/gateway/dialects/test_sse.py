"""Where events end, and what they carry."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.dialects import sse

_PIECES = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data:",
        b"data: ",
        b"x",
        b": c",
        b"event: e",
    ]
)
_STREAMS = st.lists(_PIECES, max_size=24).map(b"".join)
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


@given(_STREAMS)
def test_events_joined_are_the_text(text: bytes) -> None:
    """Nothing is lost or added, whatever ends the lines."""
    assert text == b"".join(sse.events(text))


@given(_STREAMS)
def test_the_boundary_is_after_the_last_empty_line(text: bytes) -> None:
    """Before it are whole events only; after it no empty line comes."""
    end = sse.boundary(text)

    assert not _EMPTY_LINE.search(text, end)
    assert end == 0 or re.search(_EMPTY_LINE.pattern + rb"\Z", text[:end])


@given(_STREAMS, st.data())
def test_events_do_not_depend_on_the_pieces_they_come_in(text: bytes, data: st.DataObject) -> None:
    """Cutting off whole events early, as they come, carries the same payloads as the whole text."""
    at = data.draw(st.integers(0, len(text)))
    end = sse.boundary(text[:at])

    early = [sse.payload(e) for e in sse.events(text[:end])]
    rest = text[end:]
    if text[:end].endswith(b"\r") and rest.startswith(b"\n"):
        rest = rest[1:]  # the second half of a line end
    late = [sse.payload(e) for e in sse.events(rest)]

    assert [p for p in map(sse.payload, sse.events(text)) if p] == [p for p in early + late if p]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\r\n\r\n", b"x"),
        (b"data:  x\r\r", b" x"),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
        (b": comment\nevent: e\nid: 1\ndata: x\nretry: 1\n\n", b"x"),
        (b"data: a\ndata:b\ndata\n\n", b"a\nb"),
        (b"\ndata: x\n\n", b"x"),
        (b": comment\n\n", b""),
        (b"datax: y\n\n", b""),
        (b"", b""),
    ],
)
def test_the_payload_is_the_data_lines(event: bytes, expected: bytes) -> None:
    assert expected == sse.payload(event)


def test_many_events_take_linear_time() -> None:
    """Both ways of splitting give every event of a long text."""
    for end in (b"\n\n", b"\r\n\r\n"):
        text = (b"data: x" + end) * 50_000
        assert sum(1 for _ in sse.events(text)) == 50_000
