"""What a batch used becomes rows, one for each answer, whoever sees its results first.

However often they are seen: an answer's row has a call id made of the provider's own id, and the ledger
settles a call once. Of a batch that was submitted here, a row is its submitter's, begins when that was
submitted, and is charged to what was held then; of any other, it is whoever's that fetches the results.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from proxy.core.call import AttemptRecord, Outcome, Principal
from proxy.core.errors import LedgerError
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.dialects.base import Patch, RequestFacts, Scan
from proxy.gateway.dialects.batch_results import Result
from proxy.gateway.dialects.unmetered import PassThrough, Unmetered
from proxy.gateway.inbound import Inbound
from proxy.gateway.meter import Answered, Meter
from proxy.gateway.paths import Way
from proxy.gateway.ports import Ledger
from proxy.gateway.router import Target

_OK: Final = 200
_OLDEST_US: Final = 60 * 86_400 * 1_000_000  # results are kept for 30 days
_AT_ONCE: Final = 64  # rows that are on their way to the ledger together
_NO_DIALECT: Final = Unmetered()

Finish = Callable[[ActiveCall, Outcome, Answered], Coroutine[Any, Any, None]]


class Origin(Struct, frozen=True):
    """Whose answers they are, and what they are charged to."""

    config: GatewayConfig
    inbound: Inbound
    upstream: Upstream
    principal: Principal
    submitted_at_us: int | None = None  # where that is known
    model: str = ""  # the name that it was asked for by, for budgets on models
    draws_on: tuple[str, ...] = ()


class BatchResults:
    """Settles the answers of batches. ``finish`` ends a call, durably."""

    def __init__(self, ledger: Ledger, meter: Meter, finish: Finish) -> None:
        self._ledger = ledger
        self._meter = meter
        self._finish = finish

    async def settle(self, results: Iterable[Result], origin: Origin) -> None:
        """A row for each of them that has none. All are in the ledger when it returns."""
        left = iter(results)
        while some := list(islice(left, _AT_ONCE)):
            await asyncio.gather(*(self._settle(result, origin) for result in some))

    async def _settle(self, result: Result, origin: Origin) -> None:
        row = _row_of(origin, result)
        if await self._is_new(row.id):
            await self._finish(row, Outcome.COMPLETED, _Seen(row, result.scan, self._meter))

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


def own_id(upstream: str, ids: Sequence[str], at_us: int) -> str:
    """A call id that is the same whoever makes it of the same."""
    name = "/".join((upstream, *ids)).encode()
    return f"fb-{at_us // 1000:012x}{sha256(name).hexdigest()[:20]}"


def _row_of(origin: Origin, result: Result) -> ActiveCall:
    upstream, way = origin.upstream, Way(_NO_DIALECT, True, result.endpoint, 0)
    row = ActiveCall(origin.config, origin.inbound, way)
    served = result.scan.served_model
    row.principal, row.draws_on = origin.principal, origin.draws_on
    row.facts, row.status = RequestFacts(origin.model or served), _OK
    now_us, created_us = row.started_at_us, result.created_s * 1_000_000
    if origin.submitted_at_us is not None:
        row.started_at_us = origin.submitted_at_us
    elif now_us - _OLDEST_US < created_us <= now_us:
        row.started_at_us = created_us
    row.id = own_id(upstream.name, (result.id,), created_us)
    row.attempt = Attempt(
        number=1,
        upstream=upstream,
        target=Target(upstream.name, served),
        patch=Patch(),
        started_at_us=row.started_at_us,
        started=time.perf_counter(),
        status=_OK,
    )
    return row
