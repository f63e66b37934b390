"""Fixtures that several folders share, and how properties are tested."""

from hypothesis import settings

from tests.ledger.homes import home, ledger
from tests.migrated import migrated
from tests.postgres import postgres_server, postgres_url

# How long an example takes is the machine's business: a busy one is no finding.
settings.register_profile("farebox", deadline=None)
settings.load_profile("farebox")

__all__ = ["home", "ledger", "migrated", "postgres_server", "postgres_url"]
