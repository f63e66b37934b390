"""What a batch used becomes rows, one for each answer, when the file of its results was fetched.

However often that is: an answer's row has a call id made of the provider's own id, and the ledger
settles a call once.
"""

import time
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, Final

from proxy.core.call import AttemptRecord, Outcome
from proxy.core.errors import LedgerError
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.config import Upstream
from proxy.gateway.dialects.base import Patch, RequestFacts, Scan
from proxy.gateway.dialects.batches import Lines, Result
from proxy.gateway.dialects.unmetered import PassThrough
from proxy.gateway.meter import Answered, Meter
from proxy.gateway.paths import Way
from proxy.gateway.ports import Ledger
from proxy.gateway.relay import Relay
from proxy.gateway.router import Target

_OK: Final = 200
_OLDEST_US: Final = 60 * 86_400 * 1_000_000  # results are kept for 30 days

Settle = Callable[[ActiveCall, Outcome, Answered], None]


class BatchResults:
    """Settles the answers of batches."""

    def __init__(
        self,
        ledger: Ledger,
        meter: Meter,
        settle: Settle,
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ledger = ledger
        self._meter = meter
        self._settle = settle
        self._run = run

    def take(self, call: ActiveCall, relay: Relay) -> None:
        """Settle what the relayed file says, if it says anything."""
        scanner = relay.scanner
        if isinstance(scanner, Lines) and scanner.results:
            self._run(self._take(call, relay.attempt.upstream, scanner.results))

    async def _take(self, call: ActiveCall, upstream: Upstream, results: list[Result]) -> None:
        for result in results:
            row = _row_of(call, upstream, result)
            if await self._is_new(row.id):
                self._settle(row, Outcome.COMPLETED, _Seen(row, result.scan, self._meter))

    async def _is_new(self, call_id: str) -> bool:
        """For what is counted beside the ledger, which settles a call once in any case."""
        try:
            return await self._ledger.call(call_id) is None
        except LedgerError:
            return True


class _Seen(PassThrough):
    """An answer that was seen in a file. It is its own scanner."""

    __slots__ = ("_call", "_meter")

    def __init__(self, call: ActiveCall, scan: Scan, meter: Meter) -> None:
        super().__init__()
        self.scan = scan
        self._call = call
        self._meter = meter

    def measured_now(self) -> AttemptRecord | None:
        """The attempt's row."""
        assert self._call.attempt is not None  # noqa: S101 - set where it is made
        return self._meter.reported(self._call, self._call.attempt, self)

    async def measured(self) -> AttemptRecord:
        """The same, where something is still to be counted."""
        assert self._call.attempt is not None  # noqa: S101 - as above
        return await self._meter.measure(self._call, self._call.attempt, self)


def _row_of(call: ActiveCall, upstream: Upstream, result: Result) -> ActiveCall:
    row = ActiveCall(call.config, call.inbound, Way(call.dialect, True, result.endpoint, 0))
    model = result.scan.served_model
    row.principal, row.plan = call.principal, call.plan
    row.facts, row.status = RequestFacts(model), _OK
    now_us = row.started_at_us
    created_us = result.created_s * 1_000_000
    if now_us - _OLDEST_US < created_us <= now_us:
        row.started_at_us = created_us
    name = f"{upstream.name}/{result.id}".encode()
    row.id = f"fb-{created_us // 1000:012x}{sha256(name).hexdigest()[:20]}"
    row.attempt = Attempt(
        number=1,
        upstream=upstream,
        target=Target(upstream.name, model),
        patch=Patch(),
        started_at_us=row.started_at_us,
        started=time.perf_counter(),
        status=_OK,
    )
    return row
