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
    folder = Path(settings.spool_dir) if settings.spool_dir else _default_folder(database)
    return ResilientLedger(inner, folder, unavailable=settings.unavailable)


def _default_folder(database: Database) -> Path:
    beside = database.path.parent if database.is_sqlite else Path("data")
    return beside / SPOOL_FOLDER
