"""The answer's reader, without any I/O."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import UpstreamFailed
from proxy.gateway.upstreams.answer import Answer, HeadLimits
from proxy.gateway.upstreams.base import Headers

OK = b"HTTP/1.1 200 OK\r\n"
LIMITS = HeadLimits(max_bytes=2_000, max_headers=20)

TOKENS = st.text("abcxyzABC-_0189", min_size=1, max_size=12).map(lambda s: b"x-" + s.encode())
VALUES = st.binary(max_size=30).map(
    lambda b: bytes(c for c in b if c >= 0x20 and c != 0x7F).strip(b" \t")
)
BODIES = st.lists(st.binary(min_size=1, max_size=50), max_size=6)


def read(data: bytes, *cuts: int, head_only: bool = False, eof: bool = False) -> Answer:
    """Feed the data in pieces, as far as the answer goes."""
    answer = Answer(LIMITS, head_only=head_only)
    edges = sorted({0, *(cut for cut in cuts if 0 < cut < len(data)), len(data)})
    for start, end in itertools.pairwise(edges):
        if answer.over:
            answer.keep_alive = False
            break
        answer.feed(data[start:end])
    if eof and not answer.over:
        answer.feed_eof()
    return answer


def outcome(answer: Answer) -> tuple[int, Headers, bytes, bool, bool]:
    return answer.status, answer.headers, b"".join(answer.chunks), answer.over, answer.keep_alive


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, Headers, bytes, bool]:
    """Valid answers: bytes, end-to-end headers, body, and whether the connection may go on."""
    headers = draw(st.lists(st.tuples(TOKENS, VALUES), max_size=8))
    parts = draw(BODIES)
    body = b"".join(parts)
    framing = draw(st.sampled_from(["length", "chunked", "to the end"]))
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 P\r\nx: y\r\n\r\n"])
    )
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    kept: Headers = [(name.lower(), value) for name, value in headers]
    if framing == "length":
        lines += b"Content-Length: %d\r\n" % len(body)
        kept.append((b"content-length", b"%d" % len(body)))
        wire = body
    elif framing == "chunked":
        lines += b"Transfer-Encoding: chunked\r\n"
        wire = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        wire = body
    return interim + OK + lines + b"\r\n" + wire, kept, body, framing != "to the end"


@given(answers(), st.lists(st.integers(0, 600), max_size=8))
def test_an_answer_is_the_same_however_it_is_cut(
    valid: tuple[bytes, Headers, bytes, bool], cuts: list[int]
) -> None:
    data, headers, body, keep_alive = valid

    answer = read(data, *cuts, eof=True)

    assert outcome(answer) == (200, headers, body, True, keep_alive)


@given(answers())
def test_h11_reads_the_same(valid: tuple[bytes, Headers, bytes, bool]) -> None:
    """A second opinion on where the body ends."""
    data = valid[0]
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    peer.receive_data(b"")
    body = b""
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data

    assert b"".join(read(data, eof=True).chunks) == body


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_garbage_is_refused_or_waited_for(data: bytes, cuts: list[int]) -> None:
    """Nothing but UpstreamFailed ever comes out of it."""
    try:
        answer = read(data, *cuts)
    except UpstreamFailed:
        return
    assert answer.status == 0


@given(answers(), st.integers(0, 200), st.binary(min_size=1, max_size=4), st.data())
def test_a_broken_answer_is_refused_or_read_the_same_however_it_is_cut(
    valid: tuple[bytes, Headers, bytes, bool], at: int, noise: bytes, data: st.DataObject
) -> None:
    """No cut lets something pass that is refused when it comes at once."""
    broken = valid[0][:at] + noise + valid[0][at:]
    cuts = data.draw(st.lists(st.integers(0, len(broken)), max_size=5))

    def end_of(*cuts: int) -> object:
        try:
            return outcome(read(broken, *cuts, eof=True))
        except UpstreamFailed:
            return "refused"

    at_once, in_pieces = end_of(), end_of(*cuts)

    assert at_once == in_pieces


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n",
        b"H\x00",
        b"HTTP/1.1 200 OK\nx: y\n\n",
        OK + b"x: " + b"a" * 2_000,
        OK + b"x: a\r\n b\r\n\r\n",
        OK + b"x: a\r\n\tb\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\n",
        OK + b"x: y\r\n" * 21 + b"\r\n",
        OK + b"x: a\x01b\r\n\r\n",
        OK + b"x: a\x7fb\r\n\r\n",
        b"HTTP/1.1 200 O\nK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Go\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n" + b"x: y\r\n" * 21 + b"\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n3\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"1;" + b"e" * 2_001,
    ],
)
def test_what_is_refused_is_refused_in_pieces_too(data: bytes) -> None:
    for cuts in ((), range(len(data)), (10,)):
        with pytest.raises(UpstreamFailed, match="not valid HTTP"):
            read(data, *cuts)


@pytest.mark.parametrize("surplus", [b"x", OK + b"content-length: 6\r\n\r\npoison"])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (OK + b"content-length: 3\r\n\r\n", b"abc"),
        (OK + b"content-length: 0\r\n\r\n", b""),
        (OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_what_comes_behind_the_end_is_no_part_of_the_answer(
    head: bytes, body: bytes, surplus: bytes
) -> None:
    data = head + (body if not head.endswith(b"0\r\n\r\n") else b"")
    answer = read(data + surplus)

    assert (b"".join(answer.chunks), answer.over, answer.keep_alive) == (body, True, False)


def test_a_body_of_known_length_is_not_copied() -> None:
    """The reader gets the very object that came from the socket."""
    answer = Answer(LIMITS, head_only=False)
    answer.feed(OK + b"content-length: 6\r\n\r\n")
    piece = bytes(bytearray(b"abc"))
    answer.feed(piece)

    assert answer.chunks[0] is piece


def test_trailers_are_not_headers() -> None:
    answer = read(OK + b"transfer-encoding: chunked\r\n\r\n0\r\nset-cookie: a\r\n\r\n")

    assert (answer.headers, answer.over, answer.keep_alive) == ([], True, True)


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 204 N\r\n\r\n", True),
        (b"HTTP/1.1 204 N\r\nconnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 204 N\r\nconnection: Close\r\n\r\n", False),
        (b"HTTP/1.1 204 N\r\nconnection: x,close\r\n\r\n", False),
        (b"HTTP/1.1 204 N\r\nconnection: x\r\nconnection: close\r\n\r\n", False),
        (b"HTTP/1.0 204 N\r\n\r\n", False),
        (b"HTTP/1.0 204 N\r\nconnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.0 204 N\r\nconnection: keep-alive, close\r\n\r\n", False),
        (b"HTTP/1.1 100 C\r\nconnection: close\r\n\r\nHTTP/1.1 204 N\r\n\r\n", True),
    ],
)
def test_whether_the_connection_goes_on(head: bytes, keep_alive: bool) -> None:
    assert read(head).keep_alive is keep_alive
