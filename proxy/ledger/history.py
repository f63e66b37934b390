"""What changes history takes: one at a time, in short transactions, beside servers at work.

Reprices and prunes change sums over calls that are long settled. Each of their transactions waits for
the one before; none of them keeps a server's batch waiting for longer than it takes itself.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from proxy.core.errors import LedgerError
from proxy.ledger.budget_rows import BUDGET_LOCK
from proxy.store.engine import Database, is_busy

T = TypeVar("T")

HISTORY_LOCK = 0x6661_7265_0003  # PostgreSQL: exclusive for each change of history
TRIES = 8
_PAUSE_S = 0.05  # before the second try; twice that before the third …
# Deadlock, serialization, and a lock that was waited for in vain.
_AGAIN = frozenset(("40P01", "40001", "55P03"))


def lock_history(connection: Connection) -> None:
    """Keep budgets as they are, and other changes of history out. SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({BUDGET_LOCK})"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({HISTORY_LOCK})"))


async def patiently(database: Database, work: Callable[[Connection], T]) -> T:
    """Run ``work`` in a transaction, again where others were in the way. Raises LedgerError."""
    for attempt in range(TRIES - 1):
        try:
            return await database.run(work)
        except LedgerError as error:
            if not _in_the_way(error.__cause__):
                raise
        await asyncio.sleep(_PAUSE_S * 2**attempt)
    return await database.run(work)


def _in_the_way(cause: BaseException | None) -> bool:
    if not isinstance(cause, DBAPIError):
        return False
    return is_busy(cause.orig) or getattr(cause.orig, "sqlstate", None) in _AGAIN
