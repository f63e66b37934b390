"""Contract tests run on every implementation, and where sockets count, on both event loops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from proxy.gateway.upstreams import build_client
from proxy.gateway.upstreams.base import UpstreamClient
from tests.contract.upstream_server import Connect


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name.startswith("test_upstream"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=["http1", "httpx"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Builds clients of one kind, with ``build_client``'s arguments, and closes them."""
    async with contextlib.AsyncExitStack() as stack:

        def build(base_url: str, **options: Any) -> UpstreamClient:
            client = build_client(base_url, client=request.param, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield build
