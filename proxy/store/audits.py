"""Who changed what: the lines of ``audit``, the newest first."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from proxy.core.present import iso
from proxy.store.engine import Database
from proxy.store.schema import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change. ``before`` and ``after`` are what was kept of the subject; empty where it was not."""

    at: str
    actor: str
    action: str
    subject: str
    before: dict[str, Any]
    after: dict[str, Any]


class Audits:
    """Reads them. Raises LedgerError where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, action: str, limit: int) -> list[AuditRow]:
        """The last changes of a kind: ``budget`` or ``key``."""
        return [
            AuditRow(
                at=iso(row["at_us"]),
                actor=row["actor"],
                action=row["action"],
                subject=row["subject"],
                before=json.loads(row["before"] or "{}"),
                after=json.loads(row["after"] or "{}"),
            )
            for row in await self._database.fetch(_newest(action, limit))
        ]


def _newest(action: str, limit: int) -> Select[tuple[object, ...]]:
    """The newest changes of a kind."""
    query = select(audit).where(audit.c.action.startswith(f"{action}.", autoescape=True))
    return query.order_by(audit.c.at_us.desc(), audit.c.id).limit(limit)
