"""Counts calls into the metrics of the catalogue: a subscriber of ``CallFinished``."""

from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from proxy.core.call import (
    AttemptRecord,
    CallFinished,
    CallRecord,
    CapSource,
    Outcome,
    Totals,
    counts_of,
)
from proxy.core.usage import UsageSource
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows, budget_values
from proxy.observe.families import (
    CallHistogram,
    Exemplars,
    Family,
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


class Metrics:
    """Counts of one process. Every method is for the event loop's thread, and none of them waits."""

    def __init__(self, *, max_label_sets: int = MAX_LABEL_SETS) -> None:
        self.changes = 0  # grows with everything that is counted
        self._max_label_sets = max_label_sets
        self._models = Vocabulary(min(MAX_MODELS, max_label_sets), self._overflowed)
        self._endpoints = Vocabulary(min(MAX_ENDPOINTS, max_label_sets), self._overflowed)
        self._reasons = Vocabulary(MAX_REASONS, self._overflowed)
        self._by_labels: dict[Labels, _CallSeries] = {}
        self._by_raw: dict[Labels, _CallSeries] = {}
        self._overhead: dict[str, Histogram] = {}
        self._warnings: dict[str, int] = {}
        self._in_flight: Callable[[], int] = int
        self._ledger: Callable[[], LedgerCounts] = _NoLedger
        self._commit = Histogram(catalogue.COMMIT.thresholds)
        self._batch = Histogram(catalogue.BATCH.thresholds)
        self._overflows = 0

    # What the rest of the house tells

    def watch(
        self, *, in_flight: Callable[[], int], ledger: "Callable[[], LedgerCounts] | None" = None
    ) -> None:
        """Read these whenever the metrics are shown."""
        self._in_flight, self._ledger = in_flight, ledger or _NoLedger

    def call_finished(self, event: CallFinished) -> None:
        """Count a call and its attempts."""
        self.changes += 1
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
            self._count_overhead(record)
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
        every = [(labels, s) for labels, s in self._by_labels.items() if s.sources]
        return {
            catalogue.DURATION.name: {labels: s.duration.exemplars() for labels, s in every},
            catalogue.FIRST_BYTE.name: {labels: s.first_byte.exemplars() for labels, s in every},
        }

    # Which series a call is counted in

    def _series(self, record: CallRecord, attempt: AttemptRecord | None, ok: bool) -> "_CallSeries":
        if attempt is None:
            raw = (record.team, record.model_requested, "", record.endpoint)
        else:
            model = attempt.model_served or record.model_requested
            raw = (record.team, model, attempt.upstream, record.endpoint)
        series = self._by_raw.get(raw)
        return self._admit(raw, ok) if series is None else series

    def _admit(self, raw: Labels, ok: bool) -> "_CallSeries":
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

    def _labelled(self, labels: Labels) -> "_CallSeries":
        series = self._by_labels.get(labels)
        if series is None:
            labels = self._place(labels)
            series = self._by_labels.setdefault(labels, _CallSeries(labels, self._reasons))
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

    def _count_overhead(self, record: CallRecord) -> None:
        histogram = self._overhead.get(record.endpoint)
        if histogram is None:
            endpoint = self._endpoint(record.endpoint, real=False)
            histogram = self._overhead.setdefault(
                endpoint, Histogram(catalogue.OVERHEAD.thresholds)
            )
        histogram.observe(record.overhead_us)

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


_DURATION = catalogue.DURATION.thresholds
_TOKENS = catalogue.INPUT.thresholds


class _CallSeries:
    """All that is counted under one set of team, model, upstream and endpoint."""

    __slots__ = (
        "cost",
        "counts",
        "duration",
        "first_byte",
        "input",
        "labels",
        "metered",
        "outcomes",
        "output",
        "reasons",
        "sources",
        "tokens",
    )

    def __init__(self, labels: Labels, reasons: Vocabulary) -> None:
        self.labels = labels
        self.reasons = reasons
        self.metered = False
        self.outcomes: dict[tuple[str, int], int] = {}
        self.sources: dict[str, int] = {}
        self.tokens = [0] * len(KINDS)
        self.cost = 0
        self.duration = CallHistogram(_DURATION)
        self.first_byte = CallHistogram(_DURATION)
        self.input = Histogram(_TOKENS)
        self.output = Histogram(_TOKENS)
        self.counts: dict[tuple[Family, str], int] = {}  # what most calls have nothing of

    def count(self, family: Family, extra: str = "") -> None:
        key = family, extra
        self.counts[key] = self.counts.get(key, 0) + 1

    def count_call(self, record: CallRecord) -> None:
        outcome = record.outcome, record.status // 100
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if record.outcome is Outcome.REFUSED:
            self.count(catalogue.REFUSALS, record.refusal)
        source = record.output_cap_source
        if source is not CapSource.NONE and source is not CapSource.CLIENT:
            self.count(catalogue.CAPPED, source)
        if not record.attempts:
            return
        call_id, started_at_us = record.id, record.started_at_us
        self.duration.observe_call(record.duration_us, call_id, started_at_us)
        if record.first_byte_us is not None:
            self.first_byte.observe_call(record.first_byte_us, call_id, started_at_us)
        for attempt in record.attempts:
            if attempt.price_source == "unpriced":
                self.count(catalogue.UNPRICED)
                break

    def count_attempt(self, attempt: AttemptRecord, sums: Totals | None) -> None:
        source = attempt.usage_source
        self.sources[source] = self.sources.get(source, 0) + 1
        if attempt.error:
            # Some are words of the provider's own.
            self.count(catalogue.UPSTREAM_ERRORS, self.reasons.admit(attempt.error, real=True))
        self.cost += attempt.cost_nano
        if source is UsageSource.NONE:
            return
        self.metered = True
        tokens_in, cached, written, tokens_out, reasoning = (sums or counts_of(attempt))[:5]
        tokens = self.tokens
        tokens[0] += tokens_in
        tokens[3] += tokens_out
        if cached or written or reasoning:
            tokens[1] += cached
            tokens[2] += written
            tokens[4] += reasoning
        self.input.observe(tokens_in)
        self.output.observe(tokens_out)

    def values(self) -> Iterable[tuple[Family, Labels, Value]]:
        """Every value, with its family and the labels that come after those of the call."""
        for (outcome, status), count in self.outcomes.items():
            yield catalogue.CALLS, (outcome, f"{status}xx"), count
        for source, count in self.sources.items():
            yield catalogue.USAGE_SOURCE, (source,), count
        for (family, extra), count in self.counts.items():
            yield family, (extra,) if len(family.labels) > len(self.labels) else (), count
        if self.sources:  # something was sent upstream
            yield catalogue.COST, (), self.cost
            yield catalogue.DURATION, (), self.duration.value()
            yield catalogue.FIRST_BYTE, (), self.first_byte.value()
        if self.metered:
            for kind, count in zip(KINDS, self.tokens, strict=True):
                yield catalogue.TOKENS, (kind,), count
            yield catalogue.INPUT, (), self.input.value()
            yield catalogue.OUTPUT, (), self.output.value()


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
