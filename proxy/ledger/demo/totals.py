"""What is written at once: rows of calls and attempts, and what they add to the totals above them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.core.budgets import WindowKey
from proxy.core.call import CallRecord, totals
from proxy.ledger import rows
from proxy.ledger.codec import principal_of
from proxy.ledger.cover import Covers
from proxy.ledger.rows import Row


@dataclass(slots=True)
class Sheet:
    """Some calls as rows, and their sums by rollup and by window."""

    calls: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    rollups: dict[Row, list[int]] = field(default_factory=dict)
    by_principal: dict[Row, list[int]] = field(default_factory=dict)
    windows: dict[WindowKey, int] = field(default_factory=dict)

    def add(self, calls: Iterable[tuple[str, CallRecord]], covers: Covers) -> None:
        """Each call with the model that was asked for; ``covers``: the budgets that there are."""
        watched = bool(covers.budgets)
        for model, record in calls:
            sums = totals(record)
            self.calls.append(rows.call_row(record, model, sums))
            for attempt in record.attempts:
                self.attempts.append(rows.attempt_row(record, attempt))
            _add(self.rollups, rows.rollup_key(record), rows.rollup_counts(record, sums))
            _add(self.by_principal, rows.principal_key(record), rows.principal_counts(sums))
            if watched and sums.cost_nano:
                self._spend(covers, model, record, sums.cost_nano)

    def _spend(self, covers: Covers, model: str, record: CallRecord, nano: int) -> None:
        cover = covers.of(principal_of(record), model, record.started_at_us)
        for place in cover.places:
            if (
                place.counted
            ):  # an older window is counted from the rows when a call first touches it
                self.windows[place.key] = self.windows.get(place.key, 0) + nano


def _add(sums: dict[Row, list[int]], key: Row, counts: Row) -> None:
    there = sums.get(key)
    if there is None:
        sums[key] = list(counts)
    else:
        for place, count in enumerate(counts):
            there[place] += count
