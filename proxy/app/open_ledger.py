"""Which ledger a configuration asks for."""

from proxy.ledger.base import Ledger, LedgerOptions
from proxy.ledger.lost import LostPolicy
from proxy.ledger.sqlite import SqliteLedger
from proxy.observe.metrics import Metrics
from proxy.settings import Settings
from proxy.store.engine import Database


def open_ledger(database: Database, settings: Settings, metrics: Metrics) -> Ledger:
    """The ledger on this database, as configured; not started yet."""
    wanted = settings.ledger
    options = LedgerOptions(
        durability=wanted.durability,
        lease_s=wanted.lease_s,
        lost=LostPolicy(wanted.lost),
        on_commit=metrics.ledger_committed,
    )
    return SqliteLedger(database, options)
