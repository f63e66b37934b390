"""Holds and settlements: one protocol, in memory and in SQL."""

from proxy.ledger.opening import open_ledger

__all__ = ["open_ledger"]
