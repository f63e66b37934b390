"""An upstream that does not say what it answers with: a stream is passed on and metered as one."""

from tests.e2e.conftest import Start
from tests.e2e.own_model import answered_with

EVENTS = (
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"own","choices":[{"index":0,'
    b'"delta":{"content":"one"},"finish_reason":null}]}\n\n'
)
USAGE = (
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"own","choices":[],"usage":'
    b'{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def answer(status: str, body: bytes) -> bytes:
    """An answer without a content type."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


async def test_a_stream_is_metered_and_its_hidden_usage_taken_out(start: Start) -> None:
    """Its length is not the upstream's then."""
    got, row = await answered_with(start, answer("200 OK", EVENTS + USAGE + DONE), stream=True)

    assert got.content == EVENTS + DONE
    assert "content-type" not in got.headers
    assert (row["input_tokens"], row["output_tokens"]) == (9, 2)
    assert (row["usage_source"], row["outcome"]) == ("provider", "completed")


async def test_an_error_is_a_document_all_the_same(start: Start) -> None:
    error = b'{"error":{"message":"no","type":"invalid_request_error","code":"nothing_here"}}'
    got, row = await answered_with(start, answer("404 Not Found", error), stream=True)

    assert (got.status_code, got.content) == (404, error)
    assert (row["status"], row["usage_source"], row["cost_usd"]) == (404, "none", "0.00")
