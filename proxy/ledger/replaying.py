"""What waited in a spool is given to the database; what no database takes is kept apart, and told."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import structlog

from proxy.core.errors import LedgerError
from proxy.core.reservation import Settlement
from proxy.ledger.base import Lose, Operation, SqlLedger, Unwritable
from proxy.ledger.spool import SpoolError
from proxy.ledger.spooled import entry_of, settle_entry
from proxy.ledger.spooler import Spooler

_AT_ONCE = 256

_log = structlog.get_logger("farebox.ledger")


class Replaying:
    """The way from a spool into a ledger. Idempotent by call id, so that none is counted twice."""

    def __init__(self, inner: SqlLedger, spooler: Spooler) -> None:
        self._inner = inner
        self._spooler = spooler

    async def replay(self, operations: Sequence[Operation]) -> None:
        """Have them done in their order. What alone can't be written is set aside, and told."""
        for start in range(0, len(operations), _AT_ONCE):
            some = operations[start : start + _AT_ONCE]
            ends: list[Any] = await asyncio.gather(
                *(self._inner.ask(operation) for operation in some), return_exceptions=True
            )
            for operation, end in zip(some, ends, strict=True):
                if isinstance(end, Unwritable):
                    await self._set_aside(entry_of(operation), end)
                elif isinstance(end, BaseException):
                    raise end

    async def give_up(self, settlement: Settlement, error: LedgerError) -> None:
        """No database will take this row: it is kept for a human, and its hold settled as lost."""
        await self._set_aside(settle_entry(settlement), error)
        with contextlib.suppress(LedgerError):  # else its hold is swept when its lease is over
            await self._inner.ask(Lose(settlement.record.id))

    async def _set_aside(self, entry: bytes, error: LedgerError) -> None:
        self._inner.stats.set_aside += 1
        _log.error("settlement_set_aside", reason=str(error))
        try:
            await self._spooler.set_aside(entry)
        except SpoolError as problem:
            _log.error("settlement_lost", reason=str(problem), entry=entry.decode())
