"""A seeded ledger on a real PostgreSQL, as the panels and as the reports see it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, Update, select, update

from proxy.core.money import NANO_PER_USD
from proxy.ledger.demo import DemoPlan, seed
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.reports import Reports, SpendQuery, SpendRow, read_groups
from proxy.store.schema import adjustments, calls
from tests.ledger.past import prices, reprice
from tests.ledger.samples import NOON_US
from tests.packaging import boards
from tests.postgres import new_database
from tests.store.filled import a_call, fill

Row = dict[str, Any]
HOUR_S, DAY_S = 3600, 86_400
NOW_S = NOON_US // 1_000_000 + 1234
FROM_S = NOW_S - 10 * DAY_S
WILD = "it's $q$ a (team) ' OR '1'='1"
STATEMENTS = {
    f"{t.board}: {t.title}" + ("" if t.letter == "A" else f", {t.letter}"): t for t in boards.sql()
}


@dataclass(frozen=True)
class Seeded:
    """A ledger of 45 days with corrections in it, as the panels and as the reports see it."""

    url: str

    def panel(self, name: str, **chosen: tuple[str, ...]) -> list[Row]:
        """The rows of a panel as Grafana would get them at ``NOW_S``, with the last ten days shown."""
        text = boards.as_sql(STATEMENTS[name].query, FROM_S, NOW_S, **chosen)
        text = text.replace("now()", f"to_timestamp({NOW_S})")
        return asyncio.run(self._fetch(text))

    async def _fetch(self, text: str) -> list[Row]:
        connection = await asyncpg.connect(
            self.url, server_settings={"default_transaction_read_only": "on"}
        )
        try:
            return [dict(row) for row in await connection.fetch(text)]
        finally:
            await connection.close()

    def report(
        self, groups: str, from_s: int = FROM_S // HOUR_S * HOUR_S, to_s: int = NOW_S
    ) -> list[SpendRow]:
        """The same from ``farebox report`` and the admin API, up to the end of the hour."""
        to_s = (to_s // HOUR_S + 1) * HOUR_S

        async def ask() -> list[SpendRow]:
            database = Database(self.url)
            query = SpendQuery(read_groups(groups), from_s, to_s)
            page = await Reports(database).spend(query, 10_000)
            await database.close()
            return page.items

        return asyncio.run(ask())

    def rows(self, table: Any) -> list[Row]:
        """A table's rows."""

        async def ask() -> list[Row]:
            database = Database(self.url)
            found = [dict(row) for row in await database.fetch(select(table))]
            await database.close()
            return found

        return asyncio.run(ask())

    def shown_calls(self) -> list[Row]:
        """The calls of the time that is shown, with their corrections."""
        added: defaultdict[str, int] = defaultdict(int)
        for entry in self.rows(adjustments):
            added[entry["call_id"]] += entry["amount_nano"]
        return [
            row
            | {
                "nano": row["cost_nano"] + added[row["id"]],
                "model": row["model_served"] or row["model_requested"],
            }
            for row in self.rows(calls)
            if FROM_S // HOUR_S * HOUR_S <= row["started_at_us"] / 1e6 <= NOW_S
        ]


@pytest.fixture(scope="module")
def seeded(postgres_server: str) -> Iterator[Seeded]:
    """A made-up company's calls, some priced anew, and a team whose name is meant to break a query."""

    async def make() -> str:
        async with new_database(postgres_server, lasting=True) as url:
            database = Database(url)
            await migrate.upgrade(database)
            await seed(
                database,
                DemoPlan(days=45, calls=2500, seed=5, now_us=NOW_S * 1_000_000),
                [],
                lambda _: None,
            )
            await reprice(database, prices(any=("3", "4")))
            shown = (NOW_S - DAY_S) * 1_000_000 - a_call().started_at_us
            hours = shown // 3_600_000_000
            unpriced = {"price_source": "unpriced", "cost_nano": 0, "model_served": "unheard-of"}
            await fill(
                database,
                [a_call(hours, {"cost_nano": 12_345}, team=WILD), a_call(hours, unpriced)],
            )
            made_at = update(adjustments).values(created_at_us=(NOW_S - HOUR_S) * 1_000_000)
            await database.run(lambda connection: _execute(connection, made_at))
            await database.close()
            return url

    url = asyncio.run(make())
    yield Seeded(url)

    async def drop() -> None:
        connection = await asyncpg.connect(f"{postgres_server}/postgres")
        await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        await connection.close()

    asyncio.run(drop())


def _execute(connection: Connection, statement: Update) -> None:
    connection.execute(statement)


def nano(usd: Any) -> int:
    """An amount as a panel or a report shows it; it must be whole nano-dollars."""
    exact = Decimal(usd) * NANO_PER_USD
    assert exact == int(exact)
    return int(exact)
