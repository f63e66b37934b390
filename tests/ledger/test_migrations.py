"""The schema: from nothing to the newest and back, on both databases, and quick where nothing is due."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from proxy.core.errors import LedgerError
from proxy.ledger import partitions
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.schema import metadata
from tests.ledger.homes import Home
from tests.ledger.samples import NOON_US, request, settlement
from tests.postgres import new_database


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path}/folder/farebox.db")
        yield made
        await made.close()
        return
    async with new_database(request.getfixturevalue("postgres_server")) as url:
        made = Database(url)
        yield made
        await made.close()


async def tables(database: Database) -> set[str]:
    return set(await database.run(lambda c: inspect(c).get_table_names(), writes=False))


async def test_up_down_and_up_again(database: Database) -> None:
    """Base to head gives the tables that the code expects; head to base leaves none."""
    await migrate.upgrade(database)
    assert await migrate.check(database) == []
    assert set(metadata.tables) <= await tables(database)
    assert await migrate.is_current(database)

    await migrate.downgrade(database, "base")
    assert await tables(database) == {"alembic_version"}
    assert await migrate.current(database) is None

    await migrate.upgrade(database)
    assert await migrate.is_current(database)


async def test_the_hours_sums_outlive_their_new_order(tmp_path: Path) -> None:
    """SQLite's table is made anew; what is in it stays, in both directions."""
    made = Database(f"sqlite:///{tmp_path}/old.db")
    await migrate.upgrade(made, "0005")
    rows = [(hour, team, 3, 5) for hour in (7200, 3600) for team in ("b", "a")]
    insert = text("INSERT INTO rollups (hour, team, calls, cost_nano) VALUES (:h, :t, :c, :n)")
    values = [dict(zip("htcn", row, strict=True)) for row in rows]
    await made.run(lambda c: c.execute(insert, values))

    for to in ("0006", "0005", "head"):
        move = migrate.downgrade if to == "0005" else migrate.upgrade
        await move(made, to)
        found = await made.fetch(text("SELECT hour, team, calls, cost_nano FROM rollups"))
        kept = [(row["hour"], row["team"], row["calls"], row["cost_nano"]) for row in found]
        assert sorted(kept) == sorted(rows)
    found = await made.fetch(text("SELECT sql FROM sqlite_master WHERE name = 'rollups'"))
    assert "WITHOUT ROWID" in found[0]["sql"]
    await made.close()


async def test_many_at_once_migrate_once(database: Database) -> None:
    """Whoever comes second waits, and finds it done."""
    others = [Database(database.url.render_as_string(hide_password=False)) for _ in range(4)]

    await asyncio.gather(*(migrate.upgrade(other) for other in others))

    assert await migrate.is_current(database)
    for other in others:
        await other.close()


async def test_a_difference_is_told(database: Database) -> None:
    """What was changed by hand shows."""
    await migrate.upgrade(database)
    await database.run(lambda c: c.execute(text("ALTER TABLE audit ADD COLUMN extra TEXT")))

    (difference,) = await migrate.check(database)

    assert "extra" in difference


def test_the_code_knows_the_newest_migration() -> None:
    """HEAD is compared with the database at each start, instead of asking alembic."""
    config = Config()
    config.set_main_option("script_location", str(migrate.script_location()))

    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


async def test_alembic_is_not_loaded_where_nothing_is_to_be_done(tmp_path: Path) -> None:
    """A start on a current database does without it."""
    database = Database(f"sqlite:///{tmp_path}/farebox.db")
    await migrate.upgrade(database)
    await database.close()
    code = (
        "import asyncio, sys; from proxy.store import migrate; from proxy.store.engine import Database;"
        f"asyncio.run(migrate.upgrade(Database('sqlite:///{tmp_path}/farebox.db')));"
        "sys.exit('alembic' in sys.modules)"
    )

    assert await asyncio.to_thread(subprocess.call, [sys.executable, "-c", code]) == 0


async def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path}/file/farebox.db")

    with pytest.raises(LedgerError, match=r"file/farebox\.db"):
        await migrate.upgrade(database)
    await database.close()


async def test_rows_go_to_the_partition_of_their_month(postgres_url: str) -> None:
    """Partitions are made ahead; rows that came before theirs was made move into it."""
    home = Home(postgres_url)
    database = home.database()
    await migrate.upgrade(database)
    ledger = await home.open()
    early = request(10, started_at_us=NOON_US)
    later = request(10, started_at_us=NOON_US + 400 * 24 * 3_600_000_000)
    for asked in (early, later):
        await ledger.settle(settlement(asked, 5, await ledger.reserve(asked)))

    async def where() -> dict[str, str]:
        found = await database.fetch(text("SELECT id, tableoid::regclass::text AS part FROM calls"))
        return {row["id"]: row["part"] for row in found}

    assert await where() == {early.record.id: "calls_p2026_11", later.record.id: "calls_default"}
    made = await database.run(lambda c: partitions.ensure(c, later.record.started_at_us))
    again = await database.run(lambda c: partitions.ensure(c, later.record.started_at_us))
    assert made == [
        f"{table}_p2027_12" if n == 0 else f"{table}_p2028_{n:02}"
        for table in ("calls", "attempts")
        for n in range(partitions.MONTHS_AHEAD + 1)
    ]
    assert again == []
    assert (await where())[later.record.id] == "calls_p2027_12"
    assert await ledger.verify() == []
    assert await migrate.check(database) == []
    await home.close()
