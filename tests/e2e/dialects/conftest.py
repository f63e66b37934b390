"""Farebox in front of a small provider of the other APIs, for one test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.dialects.upstream import Upstream
from tests.e2e.heard import Heard
from tests.e2e.running import Running, config, farebox

PROVIDERS_KEY = "sk-of-the-provider"
_FAMILIES = {"anthropic": "/v1", "cohere": "", "ollama": "", "openai": "/v1"}
_MODELS = {"claude-*": "anthropic", "command-*": "cohere", "embed-*": "cohere",
           "rerank-*": "cohere", "qwen*": "ollama"}  # fmt: skip
# One price for all; easy to add up.
_PRICES = {"input_per_mtok": "1", "cached_input_per_mtok": "0.1", "cache_write_per_mtok": "2",
           "cache_write_1h_per_mtok": "4", "output_per_mtok": "10", "per_search": "0.01"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Both:
    """A running Farebox, and the provider behind it."""

    run: Running
    upstream: Upstream
    there: str  # the provider's own address

    @property
    def here(self) -> str:
        """Farebox's."""
        return self.run.url


Begin = Callable[..., AbstractAsyncContextManager[Both]]


@pytest.fixture
def begin(tmp_path: Path, migrated: Path) -> Begin:
    """Starts both; it is called with the provider, and sections of the configuration to change."""

    @asynccontextmanager
    async def beginning(upstream: Upstream, **changes: Any) -> AsyncIterator[Both]:
        async with serve_simulator(upstream) as there:
            upstreams = {
                name: {"dialect": name, "base_url": there + path, "api_key": PROVIDERS_KEY,
                       "on_client_leave": "abort"}
                for name, path in (_FAMILIES | changes.pop("bases", {})).items()
            }  # fmt: skip
            sections: dict[str, Any] = {
                "models": [{"match": m, "upstream": u} for m, u in _MODELS.items()],
                "prices": [{"model": "*", **_PRICES}],
            }
            document = config(there, tmp_path, **(sections | changes))
            document["upstreams"] = upstreams
            async with (
                farebox(tmp_path, document, migrated) as (url, app),
                httpx.AsyncClient(base_url=url, timeout=30) as client,
            ):
                await app.house.tokenizer.load()
                yield Both(Running(url, there, app, Heard(create_app()), client), upstream, there)

    return beginning


@pytest.fixture
def poor() -> dict[str, Any]:
    """A team whose budget lets nothing through."""
    budget = {"limit_usd": "0.000000001", "window": "month"}
    return {"teams": [{"name": "search", "budgets": [budget]}, {"name": "other"}]}
