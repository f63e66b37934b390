"""Fixtures that several folders share."""

from tests.ledger.homes import home, ledger
from tests.postgres import postgres_server, postgres_url

__all__ = ["home", "ledger", "postgres_server", "postgres_url"]
