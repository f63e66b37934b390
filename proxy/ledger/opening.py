"""The ledger that a configuration asks for."""

from collections.abc import Callable
from pathlib import Path

from proxy.ledger.base import LedgerOptions
from proxy.ledger.database_ledger import DatabaseLedger
from proxy.ledger.lost import LostPolicy
from proxy.ledger.resilient import ResilientLedger
from proxy.ledger.sqlite import SqliteLedger
from proxy.settings import LedgerSettings
from proxy.store.engine import Database

SPOOL_FOLDER = "spool"  # beside SQLite's file, or under data/


def open_ledger(
    database: Database,
    settings: LedgerSettings,
    on_commit: Callable[[int, float], None] | None = None,
) -> ResilientLedger:
    """The ledger on this migrated database; to be started. ``on_commit``: see ``LedgerOptions``."""
    options = LedgerOptions(
        durability=settings.durability,
        lease_s=settings.lease_s,
        lost=LostPolicy(settings.lost),
        answer_timeout_s=settings.answer_timeout_s,
        on_commit=on_commit,
    )
    inner: DatabaseLedger
    if database.is_sqlite:
        inner = SqliteLedger(database, options)
    else:
        from proxy.ledger.postgres import PostgresLedger  # noqa: PLC0415 - its driver is 5 MB and 50 ms

        inner = PostgresLedger(database, options)
    return ResilientLedger(
        inner, spool_folder(database, settings), unavailable=settings.unavailable
    )


def spool_folder(database: Database, settings: LedgerSettings) -> Path:
    """Where this machine keeps what must outlive a process, beside the database."""
    if settings.spool_dir:
        return Path(settings.spool_dir)
    beside = database.path.parent if database.is_sqlite else Path("data")
    return beside / SPOOL_FOLDER
