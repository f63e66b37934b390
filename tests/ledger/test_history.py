"""What changes history waits for others, and tries again where they were in the way."""

from typing import Any

import pytest
from sqlalchemy import Connection, literal, select
from sqlalchemy.exc import OperationalError

from proxy.core.errors import LedgerError
from proxy.ledger import history
from proxy.ledger.history import TRIES, patiently
from tests.ledger.homes import Home

pytestmark = pytest.mark.parametrize("home", ["sqlite"], indirect=True)


class Said(Exception):
    """A driver's error, with PostgreSQL's code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Work:
    """Fails so often with what a database said, and then gives 7."""

    def __init__(self, failures: int, sqlstate: str = "40P01") -> None:
        self.failures = failures
        self.sqlstate = sqlstate
        self.tried = 0

    def __call__(self, connection: Connection) -> int:
        """Try once."""
        self.tried += 1
        if self.tried <= self.failures:
            raise OperationalError("UPDATE …", {}, Said(self.sqlstate))
        found: int = connection.execute(select(literal(7))).scalar_one()
        return found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in these tests."""
    monkeypatch.setattr(history, "_PAUSE_S", 0)


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "55P03"])
async def test_a_deadlock_or_a_lock_is_tried_again(home: Home, sqlstate: str) -> None:
    work = Work(3, sqlstate)

    assert await patiently(home.database(), work) == 7
    assert work.tried == 4


async def test_not_for_ever(home: Home) -> None:
    work: Any = Work(100)

    with pytest.raises(LedgerError, match="40P01"):
        await patiently(home.database(), work)

    assert work.tried == TRIES


async def test_anything_else_is_told_at_once(home: Home) -> None:
    work: Any = Work(100, "53100")  # the disk is full

    with pytest.raises(LedgerError, match="53100"):
        await patiently(home.database(), work)

    assert work.tried == 1
