"""What is written towards an upstream."""

from collections.abc import AsyncIterator

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.errors import UpstreamFailed
from proxy.gateway.upstreams.base import Headers, UpstreamRequest
from proxy.gateway.upstreams.heads import RequestRules
from proxy.gateway.upstreams.origin import parse_origin

ORIGIN = parse_origin("http://upstream.example:8000/v1")
ANYTHING = st.binary(max_size=12)
LIKELY = st.sampled_from(
    [b"x-a", b"host", b"Content-Length", b"content-length", b"2", b"a: b", b"\r\n", b"a\nb", b""]
)


class Seen:
    """What a server makes of the bytes."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.headers: Headers = []
        self.bodies: list[bytes] = []
        self.complete: list[None] = []
        # httptools's callbacks
        self.on_url = self.targets.append
        self.on_header = lambda name, value: self.headers.append((name, value))
        self.on_body = self.bodies.append
        self.on_message_complete = lambda: self.complete.append(None)


@given(
    st.one_of(st.sampled_from([b"GET", b"POST"]), ANYTHING),
    st.one_of(st.sampled_from([b"/a", b"/a b", b"?q"]), ANYTHING.map(lambda b: b"/" + b)),
    st.lists(st.tuples(st.one_of(LIKELY, ANYTHING), st.one_of(LIKELY, ANYTHING)), max_size=4),
    st.one_of(st.just(b""), st.just(b"ab"), ANYTHING),
)
@example(b"GET", b"/a", [(b"x-a", b"1\r\n\r\nGET /b HTTP/1.1\r\nhost: x")], b"")
def test_what_is_sent_is_one_request_or_nothing(
    method: bytes, target: bytes, headers: Headers, body: bytes
) -> None:
    """Whatever is handed in: a server sees exactly it, once, or it is refused."""
    rules = RequestRules(ORIGIN)
    try:
        head, length = rules.write(UpstreamRequest(method, target, headers, body))
    except UpstreamFailed:
        return
    if method not in (b"GET", b"POST"):  # httptools knows only registered methods
        head = b"POST" + head[len(method) :]
    seen = Seen()
    httptools.HttpRequestParser(seen).feed_data(head + body)
    assert length == len(body)
    assert b"".join(seen.targets) == b"/v1" + target
    assert b"".join(seen.bodies) == body
    assert len(seen.complete) == 1
    handed_in = [(name, value.strip(b" \t")) for name, value in headers]
    assert [
        (name, value.strip(b" \t")) for name, value in seen.headers if (name, value) not in ADDED
    ] == [header for header in handed_in if header not in ADDED]


ADDED = [(b"host", b"upstream.example:8000"), *((b"content-length", b"%d" % n) for n in range(13))]


def test_the_head_is_written_in_one_piece() -> None:
    request = UpstreamRequest(b"POST", b"/chat?x=1", [(b"accept", b"*/*")], b"abc")

    head, length = RequestRules(ORIGIN).write(request)

    assert head == (
        b"POST /v1/chat?x=1 HTTP/1.1\r\nhost: upstream.example:8000\r\naccept: */*\r\n"
        b"content-length: 3\r\n\r\n"
    )
    assert length == 3


def test_a_body_of_unknown_length_is_chunked() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b""

    head, length = RequestRules(ORIGIN).write(UpstreamRequest(b"GET", b"/", [], body()))

    assert head.endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n")
    assert length is None


def test_what_is_known_about_names_is_bounded() -> None:
    """Clients choose them."""
    rules = RequestRules(ORIGIN)
    for number in range(2_000):
        rules.write(UpstreamRequest(b"GET", b"/", [(b"x-%d" % number, b"")]))

    assert len(rules._kinds) <= 512


def test_a_name_is_judged_in_any_case() -> None:
    """Also the second time, when it is known."""
    rules = RequestRules(ORIGIN)
    for _ in range(2):
        with pytest.raises(UpstreamFailed, match="not the caller's"):
            rules.write(UpstreamRequest(b"GET", b"/", [(b"Transfer-ENCODING", b"chunked")]))
