"""What is written at once: rows of calls and attempts, and what they add to the totals above them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.core.budgets import WindowKey
from proxy.core.call import CallRecord, totals
from proxy.ledger import rows
from proxy.ledger.cover import Covers
from proxy.ledger.demo.calls import Draw, record_of, upstream_id
from proxy.ledger.demo.forms import Forms
from proxy.ledger.rows import Row


@dataclass(slots=True)
class Sheet:
    """Some calls as rows, and their sums by rollup and by window."""

    calls: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    rollups: dict[Row, list[int]] = field(default_factory=dict)
    by_principal: dict[Row, list[int]] = field(default_factory=dict)
    windows: dict[WindowKey, int] = field(default_factory=dict)

    def add_hour(self, draws: Iterable[Draw], forms: Forms, covers: Covers) -> None:
        """The calls of one hour; ``covers``: the budgets that there are."""
        watched = bool(covers.budgets)
        by_rollup: defaultdict[Row, list[Row]] = defaultdict(list)
        by_principal: defaultdict[Row, list[Row]] = defaultdict(list)
        at_us = 0
        for draw in draws:
            if watched or draw.went_wrong:
                self._add(record_of(draw), covers)
                continue
            form, at_us = forms[draw.answer], draw.at_us
            given = upstream_id(draw.id)
            self.calls.append(form.call_row(draw, given))
            self.attempts.append(form.attempt_row(draw, given))
            by_rollup[form.rollup].append(form.counts)
            by_principal[form.principal(draw.caller)].append(form.principal_counts)
        for key, counts in by_rollup.items():
            _count(self.rollups, (rows.hour_of(at_us), *key), counts)
        for key, counts in by_principal.items():
            _count(self.by_principal, (rows.day_of(at_us), *key), counts)

    def _add(self, record: CallRecord, covers: Covers) -> None:
        sums = totals(record)
        model = record.model_requested
        self.calls.append(rows.call_row(record, model, sums))
        for attempt in record.attempts:
            self.attempts.append(rows.attempt_row(record, attempt))
        _count(self.rollups, rows.rollup_key(record), [rows.rollup_counts(record, sums)])
        _count(self.by_principal, rows.principal_key(record), [rows.principal_counts(sums)])
        if covers.budgets and sums.cost_nano:
            cover = covers.of(record.principal, model, record.started_at_us)
            # An older window is counted from the rows when a call first touches it.
            for key in (place.key for place in cover.places if place.counted):
                self.windows[key] = self.windows.get(key, 0) + sums.cost_nano


def _count(sums: dict[Row, list[int]], key: Row, counts: list[Row]) -> None:
    there = sums.get(key)
    sums[key] = list(map(sum, zip(*counts, *((there,) if there else ()), strict=True)))
