"""Endpoints that cost nothing and are about a model."""

import pytest

from proxy.gateway.dialects.base import NOWHERE, Patch
from proxy.gateway.dialects.free import Free

FREE = Free()


def test_the_model_is_read_and_renamed() -> None:
    body = b'{ "messages": [], "model" : "fast" }'

    assert FREE.inspect(body, NOWHERE).model == "fast"
    assert FREE.patch(body, Patch(model="claude-opus-5")) == (
        b'{ "messages": [], "model" : "claude-opus-5" }'
    )
    assert FREE.patch(body, Patch()) is body


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b'{"model":7}', b'{"model":"a","model":"b"}']
)
def test_what_names_no_model_is_the_upstreams_to_judge(body: bytes) -> None:
    assert FREE.inspect(body, NOWHERE).model == ""
