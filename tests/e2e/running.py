"""A running Farebox in front of a running simulator, on real sockets, for one test."""

import asyncio
import copy
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml

from proxy.app import Application
from proxy.core.money import NANO_PER_USD
from proxy.settings import load_settings
from proxy.simulator import Simulator, create_app
from proxy.simulator import serve as serve_simulator

KEY = "fb-sk-test-of-the-search-team"
ADMIN = "admin-token-of-the-tests"
Config = dict[str, Any]


def config(upstream: str, folder: Path, **changes: Any) -> Config:
    """A small configuration; ``changes`` replace its sections."""
    base: Config = {
        "database": f"sqlite:///{folder}/farebox.db",
        "admin_token": ADMIN,
        "ledger": {"hold_wait_s": 1},
        "upstreams": {
            "sim": {"preset": "openai", "base_url": f"{upstream}/v1", "api_key": "sk-simulated"}
        },
        "models": [{"match": "*", "upstream": "sim"}],
        "teams": [
            {"name": "search", "budgets": [{"limit_usd": 100, "window": "month"}]},
            {"name": "other"},
        ],
        "keys": [
            {"name": "search-key", "team": "search", "key": KEY},
            {"name": "other-key", "team": "other", "key": KEY + "-other"},
        ],
        "logging": {"level": "error"},
    }
    return base | copy.deepcopy(changes)


@dataclass(frozen=True, slots=True)
class Running:
    """What a test talks to."""

    url: str
    upstream: str
    app: Application
    simulator: Simulator
    client: httpx.AsyncClient

    async def chat(self, prompt: str = "Hello", *, key: str = KEY, **body: Any) -> httpx.Response:
        """One chat completion."""
        document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}
        return await self.client.post("/v1/chat/completions", json=document | body, headers=bearer(key))

    async def calls(self) -> list[dict[str, Any]]:
        """The rows of all calls, the oldest first."""
        items = (await self.admin("GET", "/calls?limit=500"))["items"]
        return list(reversed(items))

    async def row(self, call_id: str, key: str = KEY) -> dict[str, Any]:
        """A call's row as its own key sees it."""
        answer = await self.client.get(f"/farebox/v1/calls/{call_id}", headers=bearer(key))
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    async def admin(self, method: str, path: str, **arguments: Any) -> Any:
        """A request to the admin API."""
        answer = await self.client.request(
            method, f"/admin/v1{path}", headers=bearer(ADMIN), **arguments
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def budget(self, budget_id: str = "team:search:month") -> dict[str, Any]:
        """A budget as the admin API shows it."""
        items = (await self.admin("GET", "/budgets"))["items"]
        found: dict[str, Any] = next(b for b in items if b["id"] == budget_id)
        return found

    async def invoice(self) -> list[dict[str, Any]]:
        """What the provider billed, request by request."""
        async with httpx.AsyncClient(base_url=self.upstream) as client:
            lines: list[dict[str, Any]] = (await client.get("/simulator/invoice")).json()["items"]
        return lines

    async def verify(self) -> list[str]:
        """Where the ledger's totals differ from its rows."""
        await self.app.house.pipeline.settled()
        return await self.app.house.ledger.verify()


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def nano(usd: str) -> int:
    """A decimal string of US dollars in nano-dollars."""
    return int(Decimal(usd) * NANO_PER_USD)


@asynccontextmanager
async def farebox(folder: Path, document: Config, template: Path | None = None) -> AsyncIterator[tuple[str, Application]]:
    """Serve a configuration on a free port; ``template`` is a migrated database to start from."""
    path = folder / "farebox.yaml"
    path.write_text(yaml.safe_dump(document))
    if template is not None and not (folder / "farebox.db").exists():
        shutil.copy(template, folder / "farebox.db")
    app = Application(load_settings(path, {}), config_path=path)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,
            ws="none",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            assert not task.done(), "Farebox did not start"
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def running(folder: Path, template: Path | None = None, **changes: Any) -> AsyncIterator[Running]:
    """Farebox and a simulator; ``changes`` are sections of the configuration."""
    simulator = create_app()
    async with serve_simulator(simulator) as upstream:
        document = config(upstream, folder, **changes)
        async with (
            farebox(folder, document, template) as (url, app),
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):
            yield Running(url, upstream, app, simulator, client)
