"""The one table that a run ends with."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator

from bench.soak.plan import Fault
from bench.soak.reckoning import GUESSED, UNSEEN, Difference, source_of
from bench.soak.soak import Outcome

_KINDS_SHOWN = 4
_SHOWN = 5  # examples of each thing that went wrong
_SOURCES = ("provider", "counted", UNSEEN, "estimated", "none")
_NAMES = {
    "provider": "reported by the provider",
    "counted": "counted by Farebox",
    UNSEEN: "answer billed whole, but not seen",
    "estimated": "estimated (lost)",
    "none": "no usage",
}


def table(outcome: Outcome) -> str:
    """The table, and what it takes to find out more where something is wrong."""
    width = 44
    lines = [
        f"{name:<{width}} {value:>14}  {note}".rstrip() for name, value, note in _rows(outcome)
    ]
    rule = "─" * (width + 17)
    return "\n".join([rule, *lines, rule, *_wrongs(outcome)])


def _rows(outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    found, tally, plan = outcome.reckoning, outcome.tally, outcome.plan
    yield "seed", str(plan.seed), f"{plan.database}, {plan.replicas} replicas, {plan.seconds:g} s"
    yield "calls made by clients", f"{tally.calls.total():,}", ""
    for answer, count in sorted(tally.answers.items(), key=lambda item: -item[1]):
        yield f"  {answer}", f"{count:,}", ""
    yield "calls in the ledger", f"{found.calls.total():,}", ""
    for word, count in sorted(found.calls.items()):
        yield f"  {word}", f"{count:,}", ""
    yield "attempts in the ledger", f"{found.attempts:,}", ""
    yield "lines of the invoice", f"{found.lines:,}", ""
    for reason, count in sorted(found.alone.items()):
        yield f"  attempts without a line: {reason}", f"{count:,}", ""
    yield "faults of machines", f"{sum(outcome.faults.values()):,}", ""
    for fault, count in sorted(outcome.faults.items()):
        yield f"  {fault}", f"{count:,}", ""
    yield "rows missing", f"{len(found.missing):,}", ""
    yield "rows double", f"{len(found.double):,}", ""
    yield (
        "budgets overrun",
        f"{len(outcome.overruns) + len(outcome.watch.overruns):,}",
        (f"of every write, and {outcome.watch.snapshots:,} snapshots"),
    )
    yield "late settlements shown as overdraft", f"{outcome.overdrawn:,}", ""
    yield "ledger - invoice, nano-dollars", "", "attempts; of the invoice; p5/p50/p95 of one"
    for source in _SOURCES:
        yield from _difference(_NAMES[source], found.differences.get(source, Difference()))
    yield from _off_most(outcome)
    verdict = found.verdict()
    yield "  counted and estimated", "", f"{verdict.attempts:,}; {verdict}"
    yield from _difference("all", _sum(found.differences.values()))
    yield "spool left, bytes", f"{outcome.spool_left:,}", ""
    yield "holds left", f"{outcome.holds_left:,}", f"quiet after {outcome.quiet_after_s:.1f} s"
    yield "totals unlike the sum of their rows", f"{len(outcome.books):,}", ""
    yield "slowest call, s", f"{tally.slowest_s:.1f}", _refusal(outcome)


def _off_most(outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """The kinds of calls that move the sum of the guesses most."""
    kinds: dict[tuple[str, str], Difference] = defaultdict(Difference)
    for attempt, line in outcome.reckoning.pairs:
        source = source_of(attempt)
        if source in GUESSED:
            kind = kinds[outcome.tally.kinds.get(attempt.tag, "?"), source]
            kind.attempts += 1
            kind.ledger_nano += attempt.cost_nano
            kind.invoice_nano += line.cost_nano
    ordered = sorted(kinds.items(), key=lambda item: -abs(item[1].nano))
    for (kind_name, source), found in ordered[:_KINDS_SHOWN]:
        yield from _difference(f"  of it: {kind_name} ({source})", found)


def _refusal(outcome: Outcome) -> str:
    frozen = Fault.FREEZE in outcome.faults
    told = f"slowest refusal for want of the ledger: {outcome.slowest_refusal_s:.2f} s"
    return f"{told}, some of it frozen" if frozen else told


def _sum(differences: Iterable[Difference]) -> Difference:
    total = Difference()
    for one in differences:
        total.attempts += one.attempts
        total.ledger_nano += one.ledger_nano
        total.invoice_nano += one.invoice_nano
    return total


def _difference(name: str, found: Difference) -> Iterator[tuple[str, str, str]]:
    note = f"{found.attempts:,}"
    if found.invoice_nano:
        note += f"; {100 * found.nano / found.invoice_nano:+.3f} %"
    if found.each_nano and any(found.each_nano):
        note += f"; {_spread(found.each_nano)}"
    yield f"  {name}", f"{found.nano:+,}", note


def _spread(per_mille: list[int]) -> str:
    ordered = sorted(per_mille)
    p5, p95 = (ordered[int(len(ordered) * share)] for share in (0.05, 0.95))
    return "/".join(f"{value / 10:+.1f}" for value in (p5, statistics.median(ordered), p95)) + " %"


def _wrongs(outcome: Outcome) -> Iterator[str]:
    found = outcome.reckoning
    for name, things in (
        ("missing", found.missing),
        ("double", found.double),
        ("unexplained", found.unexplained),
        ("charged otherwise", found.wrong),
        ("written over the limit", outcome.overruns),
        ("dearer than its hold", outcome.over_their_hold),
        ("seen over the limit", outcome.watch.overruns),
        ("seen unlike its holds", outcome.watch.sums_wrong),
        ("books", outcome.books),
        ("unexpected", outcome.tally.unexpected),
    ):
        for thing in things[:_SHOWN]:
            yield f"{name}: {thing}"
