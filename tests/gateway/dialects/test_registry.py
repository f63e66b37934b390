"""Which dialect speaks where."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Scan, Watch
from proxy.gateway.dialects.unmetered import Unmetered
from proxy.gateway.paths import find_way

WATCH = Watch(streamed=True, strip_usage=True, output_cap=1, count=len)


UNMETERED = Unmetered()


def test_chat_completions_are_metered() -> None:
    way = find_way("POST", b"/v1/chat/completions", {})

    assert way is not None
    assert (
        way.dialect.name,
        way.endpoint,
        way.metered,
    ) == ("openai_chat", "chat.completions", True)


@given(st.binary(max_size=60))
def test_what_has_no_dialect_passes_untouched(body: bytes) -> None:
    """Any body, any answer, whatever is asked for: the same objects, and nothing learned."""
    assert RequestFacts(model="") == UNMETERED.inspect(body, NOWHERE)
    assert UNMETERED.patch(body, Patch("m", 1, "max_tokens", include_usage=True)) is body
    scanner = UNMETERED.scanner(RequestFacts(model=""), WATCH)
    assert scanner.feed(body) is body
    assert (scanner.finish(), scanner.count_output(), scanner.cut) == (b"", 0, False)
    assert Scan(finished=True) == scanner.scan
    assert UNMETERED.prompt_text(RequestFacts(model="")) == ""


def test_a_refusal_there_has_openais_shape() -> None:
    refused = json.loads(UNMETERED.error_body(InvalidRequest("No.", param="x")))

    assert refused["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": "x",
        "code": "invalid_request",
    }
