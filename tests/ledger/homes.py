"""The places a ledger can live in, for tests that hold in each of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.ledger.base import LedgerOptions
from proxy.ledger.database_ledger import DatabaseLedger
from proxy.ledger.memory import MemoryLedger, MemoryTables
from proxy.ledger.postgres import PostgresLedger
from proxy.ledger.sqlite import SqliteLedger
from proxy.store.engine import Database
from tests.ledger.samples import NOON_US
from tests.migrated import with_tables


class Clock:
    """A clock that stands at noon until it is set."""

    def __init__(self) -> None:
        self.now_us = NOON_US

    def __call__(self) -> int:
        """The time."""
        return self.now_us


class Home:
    """One database. Each ledger that is opened in it acts as a process of its own."""

    def __init__(self, url: str | None) -> None:
        self.clock = Clock()
        self.options = LedgerOptions(clock_us=self.clock)
        self._tables = MemoryTables()
        self.url = url
        self._stack = AsyncExitStack()

    def database(self) -> Database:
        """A way to the database for the test itself."""
        assert self.url is not None
        database = Database(self.url)
        self._stack.push_async_callback(database.close)
        return database

    async def open(self, **options: Any) -> Any:
        """One more process. It ends with the test, unless the test stops it."""
        chosen = replace(self.options, owner=LedgerOptions().owner, **options)
        ledger: Any
        if self.url is None:
            ledger = MemoryLedger(self._tables, chosen)
        elif self.url.startswith("sqlite"):
            ledger = SqliteLedger(self.database(), chosen)
        else:
            ledger = PostgresLedger(self.database(), chosen)
        await ledger.start()
        self._stack.push_async_callback(ledger.stop)
        return ledger

    async def kill(self, ledger: Any) -> None:
        """End a process as kill -9 does, as far as its database sees: no word of goodbye."""
        if isinstance(ledger, DatabaseLedger):
            assert ledger._care is not None
            assert ledger._gathering is not None
            ledger._care.cancel()
            await asyncio.wait((ledger._care,))
            ledger._gathering.stop()
            ledger._gathering = ledger._care = None
            await ledger._close()

    async def close(self) -> None:
        """Stop all that was opened."""
        await self._stack.aclose()


KINDS = ("memory", "sqlite", "postgres")


@pytest.fixture(params=KINDS)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    """A new, migrated home of each kind."""
    async with AsyncExitStack() as stack:
        url: str | None = None
        if request.param != "memory":
            url = await stack.enter_async_context(with_tables(request, tmp_path))
        place = Home(url)
        stack.push_async_callback(place.close)
        yield place


@pytest.fixture
async def ledger(home: Home) -> Any:
    """The first process in it."""
    return await home.open()
