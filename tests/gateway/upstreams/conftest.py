"""Our own client on both event loops, and the certificate for its TLS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from proxy.gateway.upstreams.http1 import Http1Client


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Http1Client]]:
    """Builds clients, and closes them."""
    async with contextlib.AsyncExitStack() as stack:

        def build(base_url: str, **options: Any) -> Http1Client:
            client = Http1Client(base_url, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield build
