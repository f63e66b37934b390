"""A server of one's own behind Farebox, which answers its one call with the bytes that a test gives it."""

from typing import Any

import httpx

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, Row, bearer
from tests.e2e.wire import recorder


async def answered_with(start: Start, served: bytes, *, stream: bool) -> tuple[httpx.Response, Row]:
    """What the client gets, and the call's row."""
    async with recorder(served) as upstream:
        config: dict[str, Any] = {
            "upstreams": {
                "own": {"preset": "vllm", "base_url": f"{upstream.url}/v1"},
                "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": SIMULATED},
            },
            "models": [{"match": "*", "upstream": "own"}],
            "prices": [{"model": "own", "input_per_mtok": "1.00", "output_per_mtok": "4.00"}],
        }
        async with start(**config) as run, httpx.AsyncClient(base_url=run.url) as client:
            body = {
                "model": "own",
                "messages": [{"role": "user", "content": "Hello"}],
                "stream": stream,
            }
            got = await client.post("/v1/chat/completions", headers=bearer(KEY), json=body)
            return got, await run.only_call()
