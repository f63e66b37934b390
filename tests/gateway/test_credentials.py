"""Where a client shows its key, and what of it goes upstream."""

from types import SimpleNamespace

import pytest

from proxy.gateway.credentials import credential, shown_by, without_key
from proxy.gateway.inbound import EXCHANGE, Head, Inbound, Message


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def inbound(*headers: tuple[bytes, bytes], query: bytes = b"") -> Inbound:
    exchange = SimpleNamespace(head=Head("POST", b"/v1/x", query, list(headers)), declared=b"")
    return Inbound({EXCHANGE: exchange}, _nothing)


SIGNED = (
    b"AWS4-HMAC-SHA256 Credential=fb-sk-1/20261125/us-east-1/bedrock/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=00"
)


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer fb-sk-1"),
        (b"x-api-key", b"fb-sk-1"),
        (b"api-key", b"fb-sk-1"),
        (b"x-goog-api-key", b"fb-sk-1"),
        (b"authorization", SIGNED),
    ],
)
def test_the_key_is_where_each_sdk_puts_it(header: tuple[bytes, bytes]) -> None:
    assert shown_by(inbound(header), "openai") == "fb-sk-1"


@pytest.mark.parametrize(
    ("query", "rest"),
    [(b"key=fb-sk-1", b""), (b"alt=sse&key=fb-sk-1", b"alt=sse"), (b"key=fb-sk-1&a=1", b"a=1")],
)
def test_geminis_query_may_hold_it_and_does_not_go_on_with_it(query: bytes, rest: bytes) -> None:
    assert shown_by(inbound(query=query), "gemini") == "fb-sk-1"
    assert shown_by(inbound(query=query), "openai") == ""
    assert without_key(query, "gemini") == rest
    assert without_key(query, "openai") == query


def test_a_key_is_written_as_its_api_wants_it() -> None:
    assert credential("authorization", "k") == [(b"authorization", b"Bearer k")]
    assert credential("x-api-key", "k") == [(b"x-api-key", b"k")]
