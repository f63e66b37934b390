"""The page over a real database and ledger, seen by a browser without scripts."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from proxy.core.call import CallRecord
from proxy.ledger.base import LedgerOptions
from proxy.ledger.sqlite import SqliteLedger
from proxy.settings import BudgetSettings, Settings, TeamSettings
from proxy.store import migrate
from proxy.store.audits import Audits
from proxy.store.engine import Database
from proxy.store.key_rows import KeyRequest
from proxy.store.keys import KeyStore
from proxy.store.latency import Latencies
from proxy.store.records import Records
from proxy.ui.application import create_ui
from proxy.ui.deps import UiDeps
from tests.observe.samples import STARTED_US
from tests.store.filled import a_call, fill

TOKEN = "an-admin-token-0123456789"
HOUR_S = 3600
NOW_S = STARTED_US / 1e6 + 3 * HOUR_S


@dataclass
class Browser:
    """A session with the page: its cookies, and the last page that it got."""

    client: httpx.AsyncClient
    page: HTMLParser = field(default_factory=lambda: HTMLParser(""))

    async def get(self, path: str, status: int = 200) -> HTMLParser:
        """A page, read."""
        return self._read(await self.client.get(path), status)

    async def send(self, path: str, status: int = 200, **fields: Any) -> HTMLParser:
        """The form of the page at ``path`` (or the last page), filled in and sent."""
        token = self.page.css_first('input[name="form_token"]')
        data = {"form_token": token.attributes["value"] if token else "", **fields}
        return self._read(await self.client.post(path, data=data), status)

    async def login(self, secret: str = TOKEN, status: int = 303) -> HTMLParser:
        """Log in."""
        await self.get("/ui/login")
        return await self.send("/ui/login", status, secret=secret, next="")

    def text(self, selector: str = "main") -> str:
        """The words of a part of the page."""
        node = self.page.css_first(selector)
        return " ".join(node.text(separator=" ").split()) if node else ""

    def attribute(self, selector: str, name: str) -> str:
        """An attribute of the first such part; "" where there is none."""
        node = self.page.css_first(selector)
        return (node.attributes.get(name) or "") if node else ""

    def rows(self, selector: str = "main table") -> list[list[str]]:
        """The cells of a table."""
        return [
            [" ".join(cell.text(separator=" ").split()) for cell in row.css("th, td")]
            for row in self.page.css(f"{selector} tbody tr")
        ]

    def _read(self, answer: httpx.Response, status: int) -> HTMLParser:
        assert answer.status_code == status, answer.text
        self.answer = answer
        self.page = HTMLParser(answer.text)
        return self.page


@dataclass
class Site:
    """The page, and what is behind it."""

    deps: UiDeps
    database: Database
    ledger: SqliteLedger
    state: dict[str, Any]
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def browser(self, **options: Any) -> Browser:
        """A browser that was never here before."""
        transport = httpx.ASGITransport(create_ui(self.deps), **options)
        client = httpx.AsyncClient(transport=transport, base_url="http://farebox")
        self.clients.append(client)
        return Browser(client)

    async def admin(self) -> Browser:
        """A browser in which the administrator is logged in."""
        browser = self.browser()
        await browser.login()
        return browser

    async def key(self, name: str, team: str) -> str:
        """A key of a team, made now; its secret."""
        made = await self.deps.keys.create(KeyRequest(name, team), "test")
        return made.secret

    async def of_team(self, team: str) -> Browser:
        """A browser in which somebody is logged in with a key of the team."""
        browser = self.browser()
        await browser.login(await self.key(f"{team}-key", team))
        return browser

    async def fill(self, *records: CallRecord) -> None:
        """Write calls."""
        await fill(self.database, records or [a_call(), a_call(1), a_call(2)])


def settings(**changed: Any) -> Settings:
    """Two teams, one with a budget."""
    month = BudgetSettings(limit_usd=Decimal(5))
    teams = [
        TeamSettings(name="search", organisation="acme", budgets=[month]),
        TeamSettings(name="billing"),
    ]
    return Settings(**{"teams": teams, "admin_token": TOKEN, **changed})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A service that just started."""
    url = f"sqlite:///{tmp_path}/farebox.db"
    database, ledgers_own = Database(url), Database(url)
    await migrate.upgrade(database)
    state: dict[str, Any] = {"settings": settings(), "now_s": NOW_S}
    clock_us = lambda: round(state["now_s"] * 1_000_000)  # noqa: E731 - as short as that
    ledger = SqliteLedger(ledgers_own, LedgerOptions(clock_us=clock_us))
    await ledger.start()
    await ledger.sync_budgets(state["settings"].core_budgets())

    async def settled() -> None:
        state["settled"] = True

    deps = UiDeps(
        ledger=ledger,
        keys=KeyStore(database, state["settings"].core_teams(), clock_us=clock_us),
        records=Records(database),
        latencies=Latencies(database),
        audits=Audits(database),
        settings=lambda: state["settings"],
        settled=settled,
        clock_s=lambda: state["now_s"],
    )
    here = Site(deps, database, ledger, state)
    yield here
    for client in here.clients:
        await client.aclose()
    await ledger.stop()
    await ledgers_own.close()
    await database.close()
