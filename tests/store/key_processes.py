"""Keys on a database, and processes that share it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from proxy.core.call import Team
from proxy.settings import KeySettings
from proxy.store.engine import Database
from proxy.store.keys import KeyStore

TEAMS = {"search": Team("search", max_output_tokens=1000), "billing": Team("billing")}
NOON_US = 1_795_348_800_000_000
HOUR_US = 3_600_000_000
CONFIGURED = "a-key-of-the-configuration-0123456789"


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_us = NOON_US

    def __call__(self) -> int:
        """The time."""
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


Process = Callable[..., KeyStore]


@pytest.fixture
def process(database: Database, clock: Clock) -> Process:
    """Makes one more process on the same database."""

    def make(teams: Mapping[str, Team] = TEAMS, **options: Any) -> KeyStore:
        return KeyStore(database, teams, clock_us=clock, **options)

    return make


@pytest.fixture
async def store(process: Process) -> KeyStore:
    store = process()
    await store.refresh()
    return store


def configured(name: str = "prod", secret: str = CONFIGURED, **fields: Any) -> KeySettings:
    return KeySettings(name=name, team=fields.pop("team", "search"), key=secret, **fields)
