"""The scanner of streams that most dialects share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan, Watch
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream, Frame, Framing, Lines
from tests.gateway.dialects.chunks import cut_every, words


class Words:
    """A dialect for tests: ``{"text": …}`` says something, ``{"usage": n}`` counts it."""

    marks: tuple[bytes, ...] = (b'"usage"',)

    def __init__(self) -> None:
        self.scan = Scan()

    def event(self, kind: str, document: Json) -> None:
        """A count."""
        del kind
        self.scan.usage = Usage(output=document["usage"])

    def end(self, kind: str) -> None:
        """The end."""
        self.scan.finished = kind == "[DONE]"

    def said(self, kind: str, document: Json) -> Texts:
        """A text."""
        del kind
        if text := document.get("text"):
            yield "", text

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The end that we give it."""
        del frame
        return b"data: cut after %d\n\n" % output_tokens


def scanner(cap: int | None = None, paid: int | None = None) -> EventScanner:
    watch = Watch(streamed=True, strip_usage=False, output_cap=cap, paid_output=paid, count=words)
    return EventScanner(Words(), EventStream(), watch)


def stream(*texts: str, tail: bytes = b"") -> bytes:
    said = b"".join(b'data: {"text":"%b"}\n\n' % text.encode() for text in texts)
    return said + tail


USAGE = b'data: {"usage":7}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_usage_is_found_however_the_stream_is_cut(size: int) -> None:
    body = stream("a b ", "c ", tail=USAGE)
    watching = scanner(cap=100)

    assert b"".join([*map(watching.feed, cut_every(body, size)), watching.finish()]) == body
    assert Scan(usage=Usage(output=7), finished=True) == watching.scan


def test_the_text_is_counted_where_no_usage_came() -> None:
    watching = scanner()
    watching.feed(stream("one two ", "three "))

    assert watching.count_output() == 3


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_stream_is_cut_at_what_its_hold_pays_for(size: int) -> None:
    """Nothing of the event that crosses it, unless a part of it is with the client already."""
    watching = scanner(paid=4)
    body = stream("one ", "two ", "three four five six ", "seven ", tail=USAGE)

    out = b"".join(map(watching.feed, cut_every(body, size)))

    assert watching.cut
    if size == 1000:
        assert out == stream("one ", "two ", tail=b"data: cut after 2\n\n")
    else:
        assert out.startswith(stream("one ", "two ", "three four five six "))
        assert b"seven" not in out
    assert watching.finish() == b""
    assert watching.scan.usage == Usage(output=7)  # what came later is read all the same


def test_a_cap_is_watched_with_a_margin() -> None:
    """The provider's own vocabulary may need fewer tokens than ours."""
    watching = scanner(cap=4)
    watching.feed(stream("one two three four five six "))

    assert not watching.cut


def test_a_stream_far_from_its_cap_needs_no_vocabulary() -> None:
    """Loading one holds everything up for a moment."""
    asks: list[bool] = []

    def never() -> bool:
        asks.append(True)
        return False

    watch = Watch(streamed=True, strip_usage=False, output_cap=4_096, count=words, ready=never)
    watching = EventScanner(Words(), EventStream(), watch)
    piece = b'data: {"text":"word ","id":"%b"}\n\n' % (b"x" * 300)
    for _ in range(500):
        watching.feed(piece)

    assert not asks
    assert watching.count_output() == 500

    for _ in range(2_000):
        watching.feed(piece)

    assert asks


def joined(framing: Framing, body: bytes, size: int) -> list[Frame]:
    frames = [frame for part in cut_every(body, size) for frame in framing.feed(part)]
    return frames + framing.finish()


@given(st.lists(st.sampled_from(["a", "bc", '{"x":1}']), max_size=5), st.integers(1, 9))
def test_frames_are_the_same_however_the_stream_is_cut(texts: list[str], size: int) -> None:
    """Joined, they are the stream."""
    for framing, text in (
        (EventStream, "".join(f"event: e\ndata: {t}\n\n" for t in texts)),
        (Lines, "".join(f"{t}\n" for t in texts)),
    ):
        body = text.encode()
        frames = joined(framing(), body, size)

        assert [framing().opened(f.raw).payload.decode() for f in frames] == texts
        assert b"".join(f.raw for f in frames) == body
        assert [body[f.start : f.end] for f in frames] == [f.raw for f in frames]


def test_an_event_that_is_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one is read."""
    monkeypatch.setattr("proxy.gateway.dialects.framing.LONGEST_EVENT", 50)
    framing = EventStream()
    frames = joined(framing, b"data: %b\n\ndata: y\n\n" % (b"x" * 200), 10)

    assert [framing.opened(f.raw).payload for f in frames] == [b"y"]
    assert framing.too_long
