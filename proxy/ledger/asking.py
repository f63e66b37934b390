"""What every ledger does the same way: each step of a call is an operation that is asked for."""

from typing import Any

from proxy.core.budgets import Refused
from proxy.core.call import CallRecord
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.base import Note, Operation, Release, Reserve, Settle
from proxy.ledger.gathering import Releases


class Asking:
    """The data path's words, over ``ask``."""

    def __init__(self) -> None:
        self._releases = Releases()

    async def ask(self, operation: Operation) -> Any:
        """Have one operation done. Raises LedgerError."""
        raise NotImplementedError

    async def reserve(self, request: HoldRequest) -> Hold | Refused:
        """Hold the amount on every budget the call falls under, or say which one refuses."""
        answer: Hold | Refused = await self.ask(Reserve(request))
        return answer

    async def settle(self, settlement: Settlement) -> None:
        """End the call, exactly once."""
        await self.ask(Settle(settlement))

    async def give_back(self, call_id: str) -> None:
        """End a kept hold: what it was for is over, and metered."""
        await self.ask(Release(call_id))

    async def attempt(self, hold: Hold, record: CallRecord) -> None:  # noqa: ARG002 - the protocol's
        """Note a further attempt in the hold before it is sent."""
        await self.ask(Note(record))

    async def released(self, timeout_s: float) -> None:
        """Wait until a hold may have been given back, or the time is up."""
        await self._releases.wait(timeout_s)
