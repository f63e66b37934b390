"""A made-up company's calls, for looking at Farebox with something in it."""

from proxy.ledger.demo.company import ORGANISATION, TEAMS
from proxy.ledger.demo.making import DemoPlan
from proxy.ledger.demo.seed import LedgerInUse, Seeded, seed

__all__ = ["ORGANISATION", "TEAMS", "DemoPlan", "LedgerInUse", "Seeded", "seed"]
