"""A simulator on a real socket, and clients that talk to it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI

from proxy.simulator import API_KEY, create_app, serve
from tests.simulator.provider import Provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    app = create_app()
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with (
        serve(app) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=10) as client,
    ):
        yield Provider(app, address, client)


@pytest.fixture
async def sdk(provider: Provider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{provider.address}/v1", api_key=API_KEY, max_retries=0, timeout=10
    ) as client:
        yield client
