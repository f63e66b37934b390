"""The admin API over a real database and ledger, without a socket between."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from proxy.admin.api import create_admin
from proxy.admin.deps import AdminDeps
from proxy.ledger.base import LedgerOptions
from proxy.ledger.sqlite import SqliteLedger
from proxy.observe.metrics import Metrics
from proxy.observe.page import MetricsPage
from proxy.settings import BudgetSettings, Settings, TeamSettings
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.keys import KeyStore
from proxy.store.records import Records

TOKEN = "an-admin-token-0123456789"


@dataclass
class Admin:
    """The API, and what is behind it."""

    app: FastAPI
    database: Database
    ledger: SqliteLedger
    keys: KeyStore
    metrics: Metrics
    state: dict[str, Any] = field(default_factory=dict)

    async def ask(
        self, method: str, path: str, *, token: str | None = TOKEN, **options: Any
    ) -> httpx.Response:
        """Ask as whoever has the token."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://farebox") as client:
            return await client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **query: Any) -> Any:
        """A good answer, read."""
        answer = await self.ask("GET", f"/admin/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def problem(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        """An error: status, code and message."""
        answer = await self.ask(method, f"/admin/v1{path}", **options)
        error = answer.json()["error"]
        assert set(error) == {"message", "code", "param"}
        return answer.status_code, error["code"], error["message"]


def settings(**changed: Any) -> Settings:
    """Two teams, one with a budget."""
    month = BudgetSettings(limit_usd=Decimal(5))
    teams = [
        TeamSettings(
            name="search",
            organisation="acme",
            max_output_tokens=1000,
            requests_per_minute=60,
            budgets=[month],
        ),
        TeamSettings(name="billing", models=["gpt-*"]),
    ]
    return Settings(**{"teams": teams, "admin_token": TOKEN, **changed})


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    """The API of a service that just started."""
    url = f"sqlite:///{tmp_path}/farebox.db"
    database, ledgers_own = Database(url), Database(url)
    await migrate.upgrade(database)
    state: dict[str, Any] = {"settings": settings(), "ready": ""}
    ledger = SqliteLedger(ledgers_own, LedgerOptions())
    await ledger.start()
    await ledger.sync_budgets(state["settings"].core_budgets())
    keys = KeyStore(database, state["settings"].core_teams())
    metrics = Metrics()

    async def settled() -> None:
        state["settled"] = True

    async def ready() -> str:
        reason: str = state["ready"]
        return reason

    deps = AdminDeps(
        ledger=ledger,
        keys=keys,
        records=Records(database),
        metrics=MetricsPage(metrics, ledger.budgets),
        settings=lambda: state["settings"],
        settled=settled,
        ready=ready,
    )
    yield Admin(create_admin(deps), database, ledger, keys, metrics, state)
    await ledger.stop()
    await ledgers_own.close()
    await database.close()
