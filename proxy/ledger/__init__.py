"""Holds and settlements: one protocol, in memory and in SQL."""

from proxy.ledger.opening import open_ledger, spool_folder

__all__ = ["open_ledger", "spool_folder"]
