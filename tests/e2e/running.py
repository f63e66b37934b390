"""A running Farebox in front of a running simulator, on real sockets, for one test."""

import asyncio
import copy
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import uvicorn
import yaml

from proxy.app import Application
from proxy.app.listening import listen, server_config
from proxy.core.money import NANO_PER_USD
from proxy.settings import load_settings
from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.heard import Heard

KEY = "fb-sk-test-of-the-search-team"
ADMIN = "admin-token-of-the-tests"
SIMULATED = "sk-simulated"
# What all of this is to hold with as well: httpx.
UPSTREAM_CLIENT = os.environ.get("FAREBOX_TEST_UPSTREAM_CLIENT", "http1")
Config = dict[str, Any]
Row = dict[str, Any]
T = TypeVar("T")


def config(upstream: str, folder: Path, *, sim: Config | None = None, **changes: Any) -> Config:
    """A small configuration; ``changes`` replace its sections, ``sim`` adds to the upstream's.

    Teams that keys name are added. ``{simulator}`` in a base_url is the simulator's address.
    """
    base: Config = {
        "database": f"sqlite:///{folder}/farebox.db",
        "admin_token": ADMIN,
        "ledger": {"hold_wait_s": 1},
        "upstreams": {
            "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": SIMULATED}
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
        "prices": [  # what the simulator asks for models that no list has
            {
                "model": "sim-*",
                "input_per_mtok": "1.00",
                "cached_input_per_mtok": "0.10",
                "output_per_mtok": "4.00",
            }
        ],
        "logging": {"level": "error"},
        "server": {"port": 0},
    }
    document = base | copy.deepcopy(changes)
    document["upstreams"]["sim"] |= sim or {}
    for made in document["upstreams"].values():
        made["base_url"] = made["base_url"].replace("{simulator}", upstream)
        made.setdefault("client", UPSTREAM_CLIENT)
    for team in {key["team"] for key in document["keys"]} - {t["name"] for t in document["teams"]}:
        document["teams"].append({"name": team})
    return document


@dataclass(frozen=True, slots=True)
class Running:
    """What a test talks to."""

    url: str
    upstream: str
    app: Application
    heard: Heard
    client: httpx.AsyncClient

    async def chat(self, prompt: str = "Hello", *, key: str = KEY, **body: Any) -> httpx.Response:
        """One chat completion."""
        return await self.client.post(
            "/v1/chat/completions", json=chat_body(prompt, **body), headers=bearer(key)
        )

    def sdk(self, key: str = KEY, **arguments: Any) -> openai.AsyncOpenAI:
        """OpenAI's SDK, pointed at Farebox."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, **arguments)

    def direct_sdk(self) -> openai.AsyncOpenAI:
        """OpenAI's SDK, pointed at the provider itself."""
        return openai.AsyncOpenAI(base_url=f"{self.upstream}/v1", api_key=SIMULATED)

    async def calls(self) -> list[Row]:
        """The rows of all calls, the oldest first."""
        items = (await self.admin("GET", "/calls?limit=500"))["items"]
        return list(reversed(items))

    async def only_call(self) -> Row:
        """The row of the one call that was made, once it is over."""
        await self.is_idle()
        rows = await self.calls()
        assert len(rows) == 1, rows
        return rows[0]

    async def is_idle(self) -> None:
        """Wait until no call is under way, also none whose client is gone."""

        async def idle() -> bool:
            return self.app.house.pipeline.in_flight == 0

        await eventually(idle)

    async def row(self, call_id: str, key: str = KEY) -> Row:
        """A call's row as its own key sees it."""
        answer = await self.client.get(f"/farebox/v1/calls/{call_id}", headers=bearer(key))
        assert answer.status_code == 200, answer.text
        row: Row = answer.json()
        return row

    async def attempts(self, call_id: str) -> list[Row]:
        """What was sent upstream for a call, with usage, charge and flags."""
        rows: list[Row] = (await self.admin("GET", f"/calls/{call_id}"))["attempt_rows"]
        return rows

    async def admin(self, method: str, path: str, **arguments: Any) -> Any:
        """A request to the admin API."""
        answer = await self.client.request(
            method, f"/admin/v1{path}", headers=bearer(ADMIN), **arguments
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def budget(self, budget_id: str = "team:search:month") -> Row:
        """A budget as the admin API shows it."""
        items = (await self.admin("GET", "/budgets"))["items"]
        found: Row = next(b for b in items if b["id"] == budget_id)
        return found

    async def invoice(self) -> list[Row]:
        """What the provider billed, request by request."""
        async with httpx.AsyncClient(base_url=self.upstream) as client:
            lines: list[Row] = (await client.get("/simulator/invoice")).json()["items"]
        return lines

    async def upstream_heard(self, requests: int) -> None:
        """Wait until so many requests have arrived at the upstream."""

        async def arrived() -> bool:
            return self.heard.requests >= requests

        await eventually(arrived)

    async def settled_cleanly(self, budget_id: str = "team:search:month") -> int:
        """Nothing is held any more and every total is the sum of its rows; what was spent, in nano-dollars."""
        assert await self.verify() == []
        budget = await self.budget(budget_id)
        assert budget["held_usd"] == "0.00"
        return nano(budget["spent_usd"])

    async def verify(self) -> list[str]:
        """Where the ledger's totals differ from its rows."""
        await self.app.house.pipeline.settled()
        return await self.app.house.ledger.verify()


def chat_body(prompt: str = "Hello", **changes: Any) -> dict[str, Any]:
    """The JSON of a chat completion."""
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}
    return document | changes


def as_billed(row: Row) -> Row:
    """What a row of the ledger says of an answer, to be compared with ``as_invoiced``."""
    return {
        "id": row["upstream_call_id"],
        "model": row["model_served"],
        "input": row["input_tokens"],
        "cached": row["cached_tokens"],
        "output": row["output_tokens"],
        "reasoning": row["reasoning_tokens"],
        "nano": nano(row["cost_usd"]),
    }


def as_invoiced(line: Row) -> Row:
    """What a line of the provider's invoice says of it."""
    return {
        "id": line["completion_id"],
        "model": line["model"],
        "input": line["prompt_tokens"],
        "cached": line["cached_tokens"],
        "output": line["completion_tokens"],
        "reasoning": line["reasoning_tokens"],
        "nano": line["cost_nano"],
    }


async def eventually(check: Callable[[], Awaitable[T]], *, within_s: float = 10) -> T:
    """The first true answer of ``check``, asked again and again."""
    async with asyncio.timeout(within_s):
        while True:
            if found := await check():
                return found
            await asyncio.sleep(0.005)


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def nano(usd: str) -> int:
    """A decimal string of US dollars in nano-dollars."""
    return int(Decimal(usd) * NANO_PER_USD)


@asynccontextmanager
async def farebox(
    folder: Path, document: Config, template: Path | None = None, *, grace_s: int = 5
) -> AsyncIterator[tuple[str, Application]]:
    """Serve a configuration on a free port; ``template`` is a migrated database to start from.

    At the end, calls under way have ``grace_s`` seconds left.
    """
    path = folder / "farebox.yaml"
    path.write_text(yaml.safe_dump(document))
    if template is not None and not (folder / "farebox.db").exists():
        shutil.copy(template, folder / "farebox.db")
    environment = {"FAREBOX_SERVER__SHUTDOWN_GRACE_S": str(grace_s)}
    settings = load_settings(path, environment)
    app = Application(settings, config_path=path, environment=environment)
    listener = listen(settings.server)
    server = uvicorn.Server(server_config(app, settings))
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
async def running(
    folder: Path, template: Path | None = None, **changes: Any
) -> AsyncIterator[Running]:
    """Farebox and a simulator; ``changes`` are sections of the configuration."""
    heard = Heard(create_app())
    async with serve_simulator(heard) as upstream:
        document = config(upstream, folder, **changes)
        async with (
            farebox(folder, document, template) as (url, app),
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):
            await app.house.tokenizer.load()  # else the first calls would be estimated
            yield Running(url, upstream, app, heard, client)
