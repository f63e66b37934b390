"""History rated anew: what calls would be charged by a price book, and by how much that differs.

Nothing is written here; ``ledger.reprice`` does that. Calls are read page by page in the order of
time, so that memory stays the same however many there are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import orjson
from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from proxy.core.pricing import Charge, PriceBook
from proxy.core.rating import STATED, UNPRICED, Metered, from_flags, rate
from proxy.core.usage import EMPTY, Usage, UsagePart, UsageSource
from proxy.store.adjusted import REPRICE, adjusted
from proxy.store.call_filter import CallFilter
from proxy.store.schema import adjustments, attempts, calls

_RATED = frozenset((str(UsageSource.PROVIDER), str(UsageSource.COUNTED)))
_usage = msgspec.json.Decoder(Usage)
_parts = msgspec.json.Decoder(tuple[UsagePart, ...])

Adjusted = tuple[
    int, int
]  # the sum of an attempt's reprices in nano-dollars, and how many they are


class LeftAlone(StrEnum):
    """Why an attempt keeps its charge."""

    STATED = "the provider stated the cost"
    ESTIMATED = "lost or estimated: nobody knows what was used"
    NO_PRICE = "nothing gives a price"


class ReadPlace(NamedTuple):
    """Where the next page begins: after this call."""

    started_at_us: int
    call_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What an attempt's charge is to be adjusted by."""

    attempt: int
    amount_nano: int
    price_source: str
    price_version: str
    charge: str  # the lines of the new charge, as JSON


@dataclass(frozen=True, slots=True)
class Change:
    """A call whose charge is to be adjusted, and what was known of it when that was decided."""

    call: Row[Any]
    entries: tuple[Entry, ...]
    seen: Mapping[int, Adjusted]  # by attempt
    priced: bool  # the call counted as unpriced, and does so no more

    @property
    def amount_nano(self) -> int:
        """By how much the call's charge changes."""
        return sum(entry.amount_nano for entry in self.entries)


@dataclass(slots=True)
class Line:
    """What was found of one team and model."""

    calls: int = 0
    changed: int = 0
    newly_priced: int = 0
    before_nano: int = 0
    difference_nano: int = 0


@dataclass(slots=True)
class Tally:
    """What was found, by team and model; ``left`` counts the attempts that kept their charge."""

    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    left: Counter[LeftAlone] = field(default_factory=Counter)

    def see(self, call: Row[Any]) -> None:
        """Count a call with what it is charged so far."""
        line = self._line(call)
        line.calls += 1
        line.before_nano += call.cost_nano + call.adjusted_nano

    def change(self, change: Change) -> None:
        """Count what a call was adjusted by."""
        line = self._line(change.call)
        line.changed += 1
        line.newly_priced += change.priced
        line.difference_nano += change.amount_nano

    def _line(self, call: Row[Any]) -> Line:
        key = (call.team, call.model_served or call.model_requested)
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line()
        return line

    @property
    def total(self) -> Line:
        """All of it."""
        lines = self.lines.values()
        return Line(
            sum(line.calls for line in lines),
            sum(line.changed for line in lines),
            sum(line.newly_priced for line in lines),
            sum(line.before_nano for line in lines),
            sum(line.difference_nano for line in lines),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, with their attempts and what their reprices came to, by call id and attempt."""

    calls: Sequence[Row[Any]]
    attempts: Mapping[str, list[Row[Any]]]
    adjusted: Mapping[str, dict[int, Adjusted]]

    @property
    def end(self) -> ReadPlace:
        """Where the next one begins."""
        last = self.calls[-1]
        return ReadPlace(last.started_at_us, last.id)


@dataclass(frozen=True, slots=True)
class Rater:
    """Rates attempts by a price book, as the data path did when they ended.

    ``providers`` has the price book's name of each configured upstream's provider. An upstream that
    is configured no more is looked for under its own name.
    """

    prices: PriceBook
    providers: Mapping[str, str]

    def change(self, call: Row[Any], page: Page, tally: Tally) -> Change | None:
        """What the call is to be adjusted by; None where it is right as it is."""
        seen = page.adjusted.get(call.id, {})
        entries = []
        unpriced_before = unpriced_after = False
        for attempt in page.attempts.get(call.id, ()):
            unpriced = attempt.price_source == UNPRICED and attempt.number not in seen
            entry = self._rate(call, attempt, seen.get(attempt.number), tally)
            if entry is not None:
                entries.append(entry)
            unpriced_before |= unpriced
            unpriced_after |= unpriced and entry is None
        if not entries:
            return None
        return Change(call, tuple(entries), seen, priced=unpriced_before and not unpriced_after)

    def _rate(
        self, call: Row[Any], attempt: Row[Any], seen: Adjusted | None, tally: Tally
    ) -> Entry | None:
        if (why := _left_alone(call, attempt)) is not None:
            tally.left[why] += 1
            return None
        if attempt.usage_source not in _RATED:
            return None  # not metered, or not answered: there is nothing to rate
        rated = rate(self.prices, self._metered(attempt), call.started_at_us)
        if rated.source == UNPRICED:
            tally.left[LeftAlone.NO_PRICE] += 1
            return None
        amount = rated.charge.nano - attempt.cost_nano - (seen[0] if seen else 0)
        if not amount and (seen or attempt.price_source != UNPRICED):
            if rated.source == STATED:
                tally.left[LeftAlone.STATED] += 1
            return None
        return Entry(attempt.number, amount, rated.source, rated.version, _lines(rated.charge))

    def _metered(self, attempt: Row[Any]) -> Metered:
        tier, variants = from_flags(attempt.flags.split(","))
        stated = attempt.stated_nano
        if stated is None and attempt.price_source == STATED:
            stated = attempt.cost_nano
        return Metered(
            upstream=attempt.upstream,
            provider=self.providers.get(attempt.upstream, attempt.upstream),
            model=attempt.model,
            model_served=attempt.model_served,
            tier=tier,
            variants=variants,
            usage=_usage.decode(attempt.usage) if attempt.usage else EMPTY,
            parts=_parts.decode(attempt.parts) if attempt.parts else (),
            stated_nano=stated,
        )


def _left_alone(call: Row[Any], attempt: Row[Any]) -> LeftAlone | None:
    if call.outcome == "lost" or attempt.usage_source == UsageSource.ESTIMATED:
        return LeftAlone.ESTIMATED
    return None


def _lines(charge: Charge) -> str:
    return orjson.dumps([tuple(line) for line in charge.lines]).decode() if charge.lines else ""


# Reading

_CALL_COLUMNS = [
    calls.c[name]
    for name in (
        "id", "started_at_us", "team", "organisation", "key_id", "key", "user", "workflow", "run",
        "tags", "endpoint", "model", "model_requested", "model_served", "upstream", "outcome",
        "cost_nano",
    )
]  # fmt: skip
_ATTEMPT_COLUMNS = [
    attempts.c[name]
    for name in (
        "call_id", "number", "upstream", "model", "model_served", "usage", "usage_source",
        "cost_nano", "price_source", "flags", "stated_nano", "parts",
    )
]  # fmt: skip


def read_page(
    connection: Connection, wanted: CallFilter, after: ReadPlace | None, size: int
) -> Page | None:
    """The next calls in the order of time; None where there are no more."""
    found = connection.execute(_calls_after(wanted, after, size)).all()
    if not found:
        return None
    ids = [call.id for call in found]
    tries: dict[str, list[Row[Any]]] = {}
    for attempt in connection.execute(_attempts_of(ids)):
        tries.setdefault(attempt.call_id, []).append(attempt)
    return Page(found, tries, reprices(connection, ids))


def reprices(connection: Connection, ids: Sequence[str]) -> dict[str, dict[int, Adjusted]]:
    """What the reprices of these calls came to so far, by attempt."""
    query = (
        select(
            adjustments.c.call_id,
            adjustments.c.attempt,
            func.sum(adjustments.c.amount_nano),
            func.count(),
        )
        .where(adjustments.c.call_id.in_(ids), adjustments.c.reason == REPRICE)
        .group_by(adjustments.c.call_id, adjustments.c.attempt)
    )
    found: dict[str, dict[int, Adjusted]] = {}
    for call_id, attempt, nano, count in connection.execute(query):
        found.setdefault(call_id, {})[attempt] = (int(nano), count)
    return found


def _calls_after(wanted: CallFilter, after: ReadPlace | None, size: int) -> Select[Any]:
    """The next calls after a place, in the order of time, with the sum of all their adjustments."""
    query = select(*_CALL_COLUMNS, adjusted().label("adjusted_nano")).where(*wanted.conditions())
    if after is not None:
        started = calls.c.started_at_us
        later = or_(started > after.started_at_us, calls.c.id > after.call_id)
        # The first condition alone finds the place in the index.
        query = query.where(and_(started >= after.started_at_us, later))
    return query.order_by(calls.c.started_at_us, calls.c.id).limit(size)


def _attempts_of(ids: Sequence[str]) -> Select[Any]:
    """The attempts of these calls."""
    return select(*_ATTEMPT_COLUMNS).where(attempts.c.call_id.in_(ids))
