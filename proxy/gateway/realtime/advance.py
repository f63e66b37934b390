"""Money held in advance: a part of a session begins only on a hold that was there before."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.core.budgets import Refused
from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold, HoldRequest
from proxy.gateway.active import ActiveCall
from proxy.gateway.ports import Ledger
from proxy.gateway.realtime.place import Bound
from proxy.gateway.reserve import explain, next_attempt, unavailable

_LOOK_EVERY_S: Final = 1.0


class Advance:
    """The holds of parts that have not begun, all of one kind."""

    def __init__(
        self,
        ledger: Ledger,
        begin: Callable[[], ActiveCall],
        bound: Callable[[int], Bound],
        give_back: Callable[[ActiveCall], None],
        patience_s: float,
    ) -> None:
        """``begin`` makes the call of a part, ``give_back`` ends one that never began.

        ``bound`` says what one can cost at a time.
        """
        self._ledger = ledger
        self._begin = begin
        self._bound = bound
        self._give_back = give_back
        self._patience_s = patience_s
        self._free: deque[ActiveCall] = deque()
        self._next: ActiveCall | None = None  # asked for, and not held yet

    def __len__(self) -> int:
        return len(self._free)

    async def have(self, wanted: int, busy: Callable[[], bool]) -> None:
        """See to it that so many parts can begin.

        Where only holds are in the way, wait: as long as parts of this session are under way
        (``busy``), which give theirs back, and else for a moment. Raises BudgetExceeded,
        ModelNotPriced, LedgerUnavailable.
        """
        deadline = time.monotonic() + self._patience_s
        while len(self._free) < wanted:
            call = self._next = self._next or self._begin()
            answer = await self._answer(call)
            if isinstance(answer, Hold):
                call.hold, self._next = answer, None
                self._free.append(call)
                continue
            if busy():
                deadline = time.monotonic() + self._patience_s
            left = deadline - time.monotonic()
            if not answer.waitable or left <= 0:
                raise explain(call, answer)
            await self._released(min(left, _LOOK_EVERY_S))

    def return_all(self) -> None:
        """Give back what is held for parts that will not begin."""
        while (call := self.take()) is not None:
            self._give_back(call)

    def take(self) -> ActiveCall | None:
        """The call of a part that begins now; None where none may."""
        return self._free.popleft() if self._free else None

    async def _answer(self, call: ActiveCall) -> Hold | Refused:
        """The ledger's answer. What it grants to somebody who is gone by then is given back."""
        asking = asyncio.ensure_future(self._ask(call))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda answered: self._came_late(call, answered))
            raise

    def _came_late(self, call: ActiveCall, answered: "asyncio.Future[Hold | Refused]") -> None:
        if answered.cancelled() or answered.exception() is not None:
            return
        if isinstance(answer := answered.result(), Hold):
            call.hold = answer
            self._give_back(call)

    async def _ask(self, call: ActiveCall) -> Hold | Refused:
        bound = self._bound(call.started_at_us)
        call.amount_nano, call.estimate_nano = bound.most_nano or 0, bound.likely_nano
        try:
            return await self._ledger.reserve(
                HoldRequest(
                    call.principal,
                    call.pending(next_attempt(call)),
                    call.amount_nano,
                    call.estimate_nano,
                    model=call.facts.model,
                    unpriced=bound.most_nano is None,
                )
            )
        except LedgerError as error:
            raise unavailable() from error

    async def _released(self, timeout_s: float) -> None:
        try:
            await self._ledger.released(timeout_s)
        except LedgerError as error:
            raise unavailable() from error
