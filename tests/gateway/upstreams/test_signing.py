"""Requests to AWS are signed as they go out."""

import sys

import pytest

from proxy.core.errors import ConfigurationError
from proxy.gateway.upstreams.base import UpstreamRequest
from proxy.gateway.upstreams.signing import aws_signer
from tests.sigv4 import signature_problem

HOST = "bedrock-runtime.us-east-1.amazonaws.com"


def signed(target: bytes, body: bytes = b"{}", token: str | None = None) -> dict[str, str]:
    """The headers of a request as it goes out, with the one that the HTTP client adds."""
    sign = aws_signer(f"https://{HOST}/", "us-east-1", "AKIDEXAMPLE", "secret", token)
    headers = [
        (b"content-type", b"application/json"),
        (b"user-agent", b"boto"),
        (b"accept", b"*/*"),
    ]
    request = sign(UpstreamRequest(b"POST", target, headers, body))
    assert request.body == body
    assert request.headers[:3] == headers
    return {"host": HOST, **{n.decode(): v.decode() for n, v in request.headers}}


@pytest.mark.parametrize(
    "target",
    [
        b"/model/anthropic.claude-v2/converse",
        b"/model/anthropic.claude-v2%3A1/converse",
        b"/model/anthropic.claude-v2:1/converse",
        b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/invoke",
        b"/model/a%20b~c/invoke?b=2&a=1",
        b"/openai/v1/chat/completions",
    ],
)
@pytest.mark.parametrize("token", [None, "session"])
def test_a_signature_is_of_the_path_as_it_goes_out(target: bytes, token: str | None) -> None:
    """Not unescaped, not escaped again."""
    headers = signed(target, b'{"messages":[]}', token)

    assert signature_problem("POST", target.decode(), headers, b'{"messages":[]}', "secret") == ""
    assert headers.get("x-amz-security-token") == token
    assert signature_problem("POST", target.decode(), headers, b"other", "secret") != ""


def test_without_botocore_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)

    with pytest.raises(ConfigurationError, match=r"farebox\[bedrock\]"):
        aws_signer("https://x", "us-east-1", "a", "b", None)
