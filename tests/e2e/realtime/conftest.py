"""Farebox in front of a small provider of realtime sessions."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from proxy.simulator import create_app
from tests.e2e.heard import Heard
from tests.e2e.realtime.provider import Provider, providing
from tests.e2e.running import KEY, Row, Running, bearer, config, eventually, farebox


@dataclass(frozen=True, slots=True)
class Both:
    """A running Farebox, and the provider behind it."""

    run: Running
    provider: Provider
    there: str

    def connect(self, model: str = "gpt-realtime", key: str = KEY, **options: Any) -> connect:
        """A websocket to Farebox, as a client of the provider would open it."""
        url = self.run.url.replace("http", "ws") + f"/v1/realtime?model={model}"
        headers = bearer(key) if key else {}
        return connect(
            url, additional_headers=headers, max_size=None, compression=None, proxy=None, **options
        )

    async def rows(self, endpoint: str = "realtime") -> list[Row]:
        """The rows of an endpoint, once everything is settled."""
        await self.run.is_idle()
        await self.run.app.house.pipeline.settled()
        return [row for row in await self.run.calls() if row["endpoint"] == endpoint]

    async def clean(self) -> int:
        """Nothing is held any more and the books balance; what was spent, in nano-dollars."""
        await self.run.is_idle()
        return await self.run.settled_cleanly()


Begin = Callable[..., AbstractAsyncContextManager[Both]]


@pytest.fixture
def begin(tmp_path: Path, migrated: Path) -> Begin:
    """Starts both; it is called with the provider, and sections of the configuration to change."""

    @asynccontextmanager
    async def beginning(
        provider: Provider | None = None, *, grace_s: int = 5, **changes: Any
    ) -> AsyncIterator[Both]:
        provider = provider or Provider()
        async with providing(provider) as there:
            document = config(there, tmp_path, **changes)
            async with (
                farebox(tmp_path, document, migrated, grace_s=grace_s) as (url, app),
                httpx.AsyncClient(base_url=url, timeout=30) as client,
            ):
                await app.house.tokenizer.load()
                running = Running(url, there, app, Heard(create_app()), client)
                yield Both(running, provider, there)

    return beginning


class EndedError(Exception):
    """The session ended before what a test waits for."""


def limited(usd: str, **policy: Any) -> dict[str, Any]:
    """A team with a blocking budget."""
    budget = {"limit_usd": usd, "window": "month", **policy}
    return {"teams": [{"name": "search", "budgets": [budget]}, {"name": "other"}]}


async def until(socket: ClientConnection, kind: str) -> list[str]:
    """The frames up to the first event of this type, it included."""
    found = []
    async for frame in socket:
        assert isinstance(frame, str)
        found.append(frame)
        if f'"{kind}"' in frame:
            return found
    raise EndedError(f"closed before {kind}: {found}")


__all__ = ["Begin", "Both", "eventually", "limited", "until"]
