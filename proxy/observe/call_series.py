"""What is counted under one set of team, model, upstream and endpoint."""

from collections.abc import Iterable, Sequence

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
from proxy.observe.families import CallHistogram, Family, Histogram, Labels, Value
from proxy.observe.labels import Vocabulary

KINDS = ("input", "cached", "cache_write", "output", "reasoning")
_DURATION = catalogue.DURATION.thresholds
_TOKENS = catalogue.INPUT.thresholds


class CallSeries:
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
        """Count one of what most calls have nothing of."""
        key = family, extra
        self.counts[key] = self.counts.get(key, 0) + 1

    def count_call(self, record: CallRecord) -> None:
        """Count a call."""
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
        """Count an attempt; ``sums`` are its own, where they are known."""
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

    def count_alike(self, events: Sequence[CallFinished]) -> None:
        """Count calls of one kind, as ``count_attempt`` and ``count_call`` would one by one."""
        records = [event.record for event in events]
        first, count = records[0], len(records)
        source, cap_source = first.attempts[0].usage_source, first.output_cap_source
        self.sources[source] = self.sources.get(source, 0) + count
        outcome = first.outcome, first.status // 100
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        if cap_source is not CapSource.NONE and cap_source is not CapSource.CLIENT:
            capped = catalogue.CAPPED, cap_source
            self.counts[capped] = self.counts.get(capped, 0) + count
        self.metered = True
        columns = list(zip(*[event.sums or () for event in events], strict=True))
        for place, column in enumerate(columns[: len(KINDS)]):
            self.tokens[place] += sum(column)
        self.cost += sum(columns[len(KINDS)])
        self.input.observe_all(columns[0])
        self.output.observe_all(columns[3])
        named = [(record.id, record.started_at_us) for record in records]
        self.duration.observe_calls([record.duration_us for record in records], named)
        self.first_byte.observe_calls([record.first_byte_us or 0 for record in records], named)

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


Kind = tuple[str, str, str, str, str, int, Outcome, CapSource, UsageSource]


def kind_of(event: CallFinished) -> Kind | None:
    """Calls of one kind are counted together; None: there is something about this one."""
    record, sums = event.record, event.sums
    if sums is None or len(record.attempts) != 1 or event.warnings or record.refusal:
        return None
    (attempt,) = record.attempts
    source = attempt.usage_source
    if attempt.error or record.first_byte_us is None or source is UsageSource.NONE:
        return None
    if attempt.price_source == "unpriced":
        return None
    return (
        record.team,
        record.model_requested,
        attempt.model_served,
        attempt.upstream,
        record.endpoint,
        record.status,
        record.outcome,
        record.output_cap_source,
        source,
    )
