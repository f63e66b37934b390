"""What a process knows while its database is away: the windows as last seen, and what it did since."""

from proxy.core.budgets import Refused, WindowKey, WindowState, decide
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.base import SqlLedger
from proxy.ledger.cover import NOWHERE, Cover


class Outage:
    """Decides without the database. Exact for this process, blind to what others do meanwhile."""

    def __init__(self, ledger: SqlLedger, reason: str) -> None:
        self.reason = reason
        self._ledger = ledger
        self._windows: dict[WindowKey, WindowState] = {}
        self._holds: dict[str, Hold] = {}

    def reserve(self, request: HoldRequest) -> Hold | Refused:
        """Hold the amount in memory, or say which budget refuses."""
        record = request.record
        cover = NOWHERE
        if not request.exempt:
            cover = self._ledger.cover(request.principal, request.model, record.started_at_us)
        windows = self._states(cover)
        verdict = decide(
            windows,
            request.amount_nano,
            unpriced=request.unpriced,
            unbounded=request.unbounded,
        )
        if isinstance(verdict, Refused):
            return verdict
        for window in windows:
            window.held_nano += verdict.amount_nano
        hold = Hold(
            record.id,
            verdict.amount_nano,
            cover.keys,
            verdict.warnings,
            hard=any(window.budget.blocks for window in windows),
            provisional=True,
        )
        self._holds[record.id] = hold
        return hold

    def settle(self, settlement: Settlement) -> None:
        """Count what a call cost, and what it no longer holds: of now, or from before the outage."""
        record = settlement.record
        hold = self._holds.get(record.id) or settlement.hold
        if hold is not None and settlement.keeps is None:
            self.forget(hold)
        cover = self._ledger.cover(settlement.principal, settlement.model, record.started_at_us)
        for window in self._states(cover):
            window.spent_nano += record.cost_nano

    def forget(self, hold: Hold) -> None:
        """Give a hold back."""
        self._holds.pop(hold.call_id, None)
        for key in hold.windows:
            if key in self._windows:
                self._windows[key].held_nano -= hold.amount_nano

    def _states(self, cover: Cover) -> list[WindowState]:
        states = []
        for place in cover.places:
            state = self._windows.get(place.key)
            if state is None:
                spent, held = self._ledger.known(place.key)
                state = WindowState(place.key, place.budget, place.resets_at, spent, held)
                self._windows[place.key] = state
            states.append(state)
        return states
