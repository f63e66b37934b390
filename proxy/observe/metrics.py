"""Counts calls into the metrics of the catalogue: a subscriber of ``CallFinished``."""

from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from proxy.core.call import (
    AttemptRecord,
    CallFinished,
    CallRecord,
)
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows, budget_values
from proxy.observe.call_series import CallSeries, Kind, kind_of
from proxy.observe.families import (
    Exemplars,
    Histogram,
    Labels,
    Snapshot,
    Value,
)
from proxy.observe.labels import OTHER, Vocabulary, endpoint_label

KINDS = ("input", "cached", "cache_write", "output", "reasoning")
MAX_LABEL_SETS = 1000
MAX_MODELS = 400
MAX_ENDPOINTS = 80
MAX_REASONS = 64
_TOGETHER = 256  # calls that are counted at once


class Metrics:
    """Counts of one process. Every method is for the event loop's thread, and none of them waits."""

    def __init__(self, *, max_label_sets: int = MAX_LABEL_SETS) -> None:
        self.changes = 0  # grows with everything that is counted
        self._max_label_sets = max_label_sets
        self._models = Vocabulary(min(MAX_MODELS, max_label_sets), self._overflowed)
        self._endpoints = Vocabulary(min(MAX_ENDPOINTS, max_label_sets), self._overflowed)
        self._reasons = Vocabulary(MAX_REASONS, self._overflowed)
        self._by_labels: dict[Labels, CallSeries] = {}
        self._by_raw: dict[Labels, CallSeries] = {}
        self._overhead: dict[str, Histogram] = {}
        self._warnings: dict[str, int] = {}
        self._in_flight: Callable[[], int] = int
        self._ledger: Callable[[], LedgerCounts] = _NoLedger
        self._commit = Histogram(catalogue.COMMIT.thresholds)
        self._batch = Histogram(catalogue.BATCH.thresholds)
        self._overflows = 0
        self._waiting: dict[Kind, list[CallFinished]] = {}

    # What the rest of the house tells

    def watch(
        self, *, in_flight: Callable[[], int], ledger: "Callable[[], LedgerCounts] | None" = None
    ) -> None:
        """Read these whenever the metrics are shown."""
        self._in_flight, self._ledger = in_flight, ledger or _NoLedger

    def call_finished(self, event: CallFinished) -> None:
        """Count a call and its attempts: with others of its kind, and before anybody looks."""
        self.changes += 1
        kind = kind_of(event)
        if kind is None:
            self._count_waiting()  # they came before it
            self._count(event)
            return
        waiting = self._waiting.get(kind)
        if waiting is None:
            waiting = self._waiting[kind] = []
        waiting.append(event)
        if len(waiting) >= _TOGETHER or len(self._waiting) >= _TOGETHER:
            self._count_waiting()

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for events in waiting.values():
            record = events[0].record
            series = self._series(record, record.attempts[0], record.status < 400)  # noqa: PLR2004
            series.count_alike(events)
            self._overhead_of(record).observe_all([e.record.overhead_us for e in events])

    def _count(self, event: CallFinished) -> None:
        record = event.record
        ok = record.status < 400  # noqa: PLR2004 - where HTTP's errors begin
        series = None
        attempts = record.attempts
        for attempt in attempts:
            series = self._series(record, attempt, ok)
            series.count_attempt(attempt, event.sums if len(attempts) == 1 else None)
        if series is None:
            series = self._series(record, None, ok)
        else:
            self._overhead_of(record).observe(record.overhead_us)
        series.count_call(record)
        if event.warnings:
            self._count_warnings(record.team, len(event.warnings))

    def refused(self, reason: str, endpoint: str = "") -> None:
        """Count a call that was refused before anybody knew whose it is: it has no row."""
        self.changes += 1
        series = self._labelled(("", "", "", self._endpoint(endpoint, real=False)))
        series.count(catalogue.REFUSALS, reason)

    def ledger_committed(self, batch: int, seconds: float) -> None:
        """Count one transaction of the ledger's writer."""
        self.changes += 1
        self._batch.observe(batch)
        self._commit.observe(round(seconds * 1_000_000))

    # What is shown

    def state(self) -> tuple[int, ...]:
        """Differs from an earlier one where the metrics do."""
        counts = self._ledger()
        troubles = (value for _, value in _troubles(counts))
        return self.changes, self._in_flight(), counts.spool_rows, counts.unwritten, *troubles

    def snapshot(self) -> dict[str, dict[Labels, Value]]:
        """A copy of all values, to be merged with other processes' and written down elsewhere."""
        self._count_waiting()
        shown: dict[str, dict[Labels, Value]] = {f.name: {} for f in catalogue.FAMILIES}
        for labels, series in self._by_labels.items():
            for family, extra, value in series.values():
                shown[family.name][(*labels, *extra)] = value
        shown[catalogue.OVERHEAD.name] = {(e,): h.value() for e, h in self._overhead.items()}
        shown[catalogue.BUDGET_WARNINGS.name] = {(t,): n for t, n in self._warnings.items()}
        shown[catalogue.IN_FLIGHT.name][()] = self._in_flight()
        counts = self._ledger()
        shown[catalogue.SPOOL.name][()] = counts.spool_rows
        shown[catalogue.UNWRITTEN.name][()] = counts.unwritten
        shown[catalogue.TROUBLES.name] = {(kind,): value for kind, value in _troubles(counts)}
        shown[catalogue.COMMIT.name][()] = self._commit.value()
        shown[catalogue.BATCH.name][()] = self._batch.value()
        shown[catalogue.LABELS_FULL.name][()] = self._overflows
        return shown

    def exemplars(self) -> Exemplars:
        """For each bucket of time the call that fell into it last."""
        self._count_waiting()
        every = [(labels, s) for labels, s in self._by_labels.items() if s.sources]
        return {
            catalogue.DURATION.name: {labels: s.duration.exemplars() for labels, s in every},
            catalogue.FIRST_BYTE.name: {labels: s.first_byte.exemplars() for labels, s in every},
        }

    # Which series a call is counted in

    def _series(self, record: CallRecord, attempt: AttemptRecord | None, ok: bool) -> CallSeries:
        if attempt is None:
            raw = (record.team, record.model_requested, "", record.endpoint)
        else:
            model = attempt.model_served or record.model_requested
            raw = (record.team, model, attempt.upstream, record.endpoint)
        series = self._by_raw.get(raw)
        return self._admit(raw, ok) if series is None else series

    def _admit(self, raw: Labels, ok: bool) -> CallSeries:
        team, model, upstream, endpoint = raw
        labels = (
            team,
            self._models.admit(model, real=ok),
            upstream,
            self._endpoint(endpoint, real=ok),
        )
        series = self._labelled(labels)
        if series.labels == raw:  # what was shortened or replaced has no end: not kept
            self._by_raw[raw] = series
        return series

    def _endpoint(self, endpoint: str, *, real: bool) -> str:
        return self._endpoints.admit(endpoint_label(endpoint), real=real)

    def _labelled(self, labels: Labels) -> CallSeries:
        series = self._by_labels.get(labels)
        if series is None:
            labels = self._place(labels)
            series = self._by_labels.setdefault(labels, CallSeries(labels, self._reasons))
        return series

    def _place(self, labels: Labels) -> Labels:
        """The labels themselves while there is room; then team and upstream only; at the end none.

        The last quarter of the places is for team and upstream, which are the configuration's: of a
        page that is full, they are what one wants to know most.
        """
        taken, places = len(self._by_labels), self._max_label_sets
        if taken < places - places // 4:
            return labels
        self._overflowed()
        rough = (labels[0], OTHER, labels[2], OTHER)
        if taken < places - 1 or rough in self._by_labels:
            return rough
        return (OTHER,) * len(labels)

    def _count_warnings(self, team: str, warnings: int) -> None:
        if team not in self._warnings and len(self._warnings) >= self._max_label_sets - 1:
            self._overflowed()
            team = OTHER
        self._warnings[team] = self._warnings.get(team, 0) + warnings

    def _overhead_of(self, record: CallRecord) -> Histogram:
        histogram = self._overhead.get(record.endpoint)
        if histogram is None:
            endpoint = self._endpoint(record.endpoint, real=False)
            histogram = self._overhead.setdefault(
                endpoint, Histogram(catalogue.OVERHEAD.thresholds)
            )
        return histogram

    def budgets(self, views: Iterable[BudgetWindows]) -> Snapshot:
        """The budgets' windows as gauges, within the same bounds."""
        return budget_values(views, max_label_sets=self._max_label_sets, on_full=self._overflowed)

    def _overflowed(self) -> None:
        self._overflows += 1
        if self._overflows == 1:
            structlog.get_logger("farebox.metrics").warning(
                "metric_labels_full",
                limit=self._max_label_sets,
                note='further label values are counted as "other"',
            )


# The ledger, as it counts itself


class LedgerCounts(Protocol):
    """What a ledger says of itself. The first two are of now, the others since its start."""

    spool_rows: int
    unwritten: int
    outages: int
    retries: int
    swept: int
    attempts_unnoted: int
    refusals_dropped: int
    set_aside: int


class _NoLedger:
    spool_rows = unwritten = 0
    outages = retries = swept = attempts_unnoted = refusals_dropped = set_aside = 0


def _troubles(counts: LedgerCounts) -> tuple[tuple[str, int], ...]:
    return (
        ("away", counts.outages),
        ("retried", counts.retries),
        ("lost_call", counts.swept),
        ("attempt_not_noted", counts.attempts_unnoted),
        ("refusal_not_recorded", counts.refusals_dropped),
        ("set_aside", counts.set_aside),
    )
