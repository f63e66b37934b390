"""An upstream that does not say what it answers with: a stream is passed on and metered as one."""

from typing import Any

import httpx

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, bearer
from tests.e2e.wire import recorder

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


async def ask(start: Start, upstream: Any, **asked: Any) -> tuple[httpx.Response, Any]:
    config = {
        "upstreams": {
            "own": {"preset": "vllm", "base_url": f"{upstream.url}/v1"},
            "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": SIMULATED},
        },
        "models": [{"match": "*", "upstream": "own"}],
        "prices": [{"model": "own", "input_per_mtok": "1.00", "output_per_mtok": "4.00"}],
    }
    async with start(**config) as run, httpx.AsyncClient(base_url=run.url) as client:
        body = {"model": "own", "messages": [{"role": "user", "content": "Hello"}], **asked}
        got = await client.post("/v1/chat/completions", headers=bearer(KEY), json=body)
        row = await run.only_call()
    return got, row


async def test_a_stream_is_metered_and_its_hidden_usage_taken_out(start: Start) -> None:
    """Its length is not the upstream's then."""
    async with recorder(answer("200 OK", EVENTS + USAGE + DONE)) as upstream:
        got, row = await ask(start, upstream, stream=True)
    assert got.content == EVENTS + DONE
    assert "content-type" not in got.headers
    assert (row["input_tokens"], row["output_tokens"]) == (9, 2)
    assert (row["usage_source"], row["outcome"]) == ("provider", "completed")


async def test_an_error_is_a_document_all_the_same(start: Start) -> None:
    error = b'{"error":{"message":"no","type":"invalid_request_error","code":"nothing_here"}}'
    async with recorder(answer("404 Not Found", error)) as upstream:
        got, row = await ask(start, upstream, stream=True)
    assert (got.status_code, got.content) == (404, error)
    assert (row["status"], row["usage_source"], row["cost_usd"]) == (404, "none", "0.00")
