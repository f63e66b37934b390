"""Fixtures of the end-to-end tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, running
from tests.postgres import new_database

Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where the replicas of a soak have their ledger: a file of their own, or an empty database."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    async with new_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def start(tmp_path: Path, migrated: Path) -> Start:
    """Starts Farebox: what it is called with are sections of the configuration to change."""

    def starting(**changes: Any) -> AbstractAsyncContextManager[Running]:
        return running(tmp_path, migrated, **changes)

    return starting


@pytest.fixture
async def run(start: Start) -> AsyncIterator[Running]:
    """Farebox with its usual configuration."""
    async with start() as it:
        yield it
