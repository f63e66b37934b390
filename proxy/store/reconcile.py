"""The ledger beside a provider's own count: day by day (UTC), model by model."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from proxy.core.money import NANO_PER_USD, round_half_even
from proxy.store.ledger_days import LedgerCounts
from proxy.store.usage_export import ALL_MODELS, Counts, UsageExport

_DAY = timedelta(days=1)
_SNAPSHOT = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$")
_NAMES = ("requests", "input_tokens", "cached_tokens", "output_tokens")


class Verdict(StrEnum):
    """What became of a day and model."""

    EQUAL = "equal"
    NOT_IN_LEDGER = "not in the ledger"
    NOT_IN_EXPORT = "not in the export"
    MISSING_IN_LEDGER = "missing in the ledger"
    MISSING_IN_EXPORT = "missing in the export"
    DOUBLED_IN_LEDGER = "doubled in the ledger"
    DOUBLED_IN_EXPORT = "doubled in the export"
    COUNTED_DIFFERENTLY = "counted differently"
    PRICED_DIFFERENTLY = "priced differently"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may be apart: a part of the larger, and for money also an amount."""

    part: Fraction = Fraction(0)
    cost_nano: int = 0

    def holds(self, one: int, other: int, *, money: bool = False) -> bool:
        """Whether they count as equal."""
        apart = abs(one - other)
        return apart <= self.part * max(abs(one), abs(other)) or (money and apart <= self.cost_nano)


@dataclass(frozen=True, slots=True)
class Compared:
    """One day and model on both sides. What the export does not tell is None."""

    day: str
    model: str
    ledger: LedgerCounts
    requests: int | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    cost_nano: int | None
    verdict: Verdict


def compare(
    ledger: Mapping[tuple[str, str], LedgerCounts],
    export: UsageExport,
    days: Collection[str],
    tolerance: Tolerance,
) -> list[Compared]:
    """Each day and model that either side has, in the order of time.

    What an export tells of all models together is compared with all of the ledger's.
    """
    wanted = {key: counts for key, counts in export.rows.items() if key[0] in days}
    found: list[Compared] = []
    if export.tells:
        split = {key: counts for key, counts in wanted.items() if key[1] != ALL_MODELS}
        name = family if export.by_family else str
        found += _beside(ledger, split, name, export.tells, tolerance)
    if export.tells_whole:
        whole = {key: counts for key, counts in wanted.items() if key[1] == ALL_MODELS}
        found += _beside(ledger, whole, lambda _: ALL_MODELS, export.tells_whole, tolerance)
    return sorted(found, key=lambda row: (row.day, row.model))


def _beside(
    ledger: Mapping[tuple[str, str], LedgerCounts],
    export: Mapping[tuple[str, str], Counts],
    name: Callable[[str], str],
    tells: Collection[str],
    tolerance: Tolerance,
) -> Iterator[Compared]:
    ours: dict[tuple[str, str], LedgerCounts] = {}
    theirs: dict[tuple[str, str], Counts] = {}
    shown: dict[tuple[str, str], str] = {}  # by the export's own name, where it has one
    for (day, model), counts in export.items():
        key = (day, name(model))
        theirs.setdefault(key, Counts()).add(counts)
        shown.setdefault(key, model)
    for (day, model), sums in ledger.items():
        key = (day, name(model))
        ours[key] = ours.get(key, LedgerCounts()) + sums
        shown.setdefault(key, ALL_MODELS if key[1] == ALL_MODELS else model)
    for key, model in shown.items():
        one, other = ours.get(key, LedgerCounts()), theirs.get(key, Counts())
        yield _compared(key[0], model, one, other, tells, tolerance)


def _compared(
    day: str,
    model: str,
    ours: LedgerCounts,
    theirs: Counts,
    tells: Collection[str],
    tolerance: Tolerance,
) -> Compared:
    told = {name: (getattr(theirs, name) or 0) if name in tells else None for name in _NAMES}
    cost = nano_of(theirs.cost_usd or Decimal(0)) if "cost_usd" in tells else None
    return Compared(
        day,
        model,
        ours,
        **told,
        cost_nano=cost,
        verdict=_verdict(ours, told, cost, tolerance),
    )


def _verdict(
    ours: LedgerCounts, told: Mapping[str, int | None], cost: int | None, tolerance: Tolerance
) -> Verdict:
    pairs = [(getattr(ours, name), n) for name, n in told.items() if n is not None]
    counted = all(tolerance.holds(one, other) for one, other in pairs)
    priced = cost is None or tolerance.holds(ours.cost_nano, cost, money=True)
    if counted and priced:
        return Verdict.EQUAL
    if cost is not None:
        pairs.append((ours.cost_nano, cost))
    if not any(one for one, _ in pairs):
        return Verdict.NOT_IN_LEDGER
    if not any(other for _, other in pairs):
        return Verdict.NOT_IN_EXPORT
    if counted and len(pairs) > 1:
        return Verdict.PRICED_DIFFERENTLY
    return _miscounted(pairs, told["requests"], ours)


def _miscounted(pairs: list[tuple[int, int]], requests: int | None, ours: LedgerCounts) -> Verdict:
    """Everything twice, or calls that one side has not; else the same calls with other numbers."""
    if all(one == 2 * other for one, other in pairs):
        return Verdict.DOUBLED_IN_LEDGER
    if all(other == 2 * one for one, other in pairs):
        return Verdict.DOUBLED_IN_EXPORT
    if len(pairs) == 1 and requests is None:
        return Verdict.PRICED_DIFFERENTLY  # nothing but a cost is known
    if requests is not None and requests != ours.requests:
        pairs = [(ours.requests, requests)]
    if all(one <= other for one, other in pairs):
        return Verdict.MISSING_IN_LEDGER
    more = all(one >= other for one, other in pairs)
    return Verdict.MISSING_IN_EXPORT if more else Verdict.COUNTED_DIFFERENTLY


def nano_of(usd: Decimal) -> int:
    """Dollars as nano-dollars, rounded half to even where they are finer."""
    value = Fraction(usd) * NANO_PER_USD
    return round_half_even(value.numerator, value.denominator)


def family(model: str) -> str:
    """One key for a model's names: ``Claude Haiku 4.5``, ``claude-haiku-4-5-20251001``, ``claude-4-5-haiku``."""
    dashed = re.sub(r"[\s._]+", "-", model.strip().lower())
    words = _SNAPSHOT.sub("", dashed).split("-")
    numbers = [word for word in words if word.isdigit()]
    return "-".join([*sorted(word for word in words if not word.isdigit()), *numbers])


def day_range(first: date, last: date) -> list[str]:
    """The days from the first to the last, both included."""
    return [(first + n * _DAY).isoformat() for n in range((last - first).days + 1)]


def days_of(export: UsageExport, first: datetime | None, end: datetime | None) -> list[str]:
    """The days that are compared: those asked for, else from the export's first to its last.

    ``end`` is the first moment that is not. Empty where neither says any.
    """
    told = sorted(date.fromisoformat(day) for day in export.days)
    start = first.astimezone(UTC).date() if first else (told[0] if told else None)
    last = (end.astimezone(UTC) - _DAY).date() if end else (told[-1] if told else None)
    return day_range(start, last) if start and last else []
