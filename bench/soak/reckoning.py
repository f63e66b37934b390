"""The two books side by side: each attempt in the ledger, each line of the provider's invoice.

An attempt and a line belong together where the ledger's upstream id is one of the line's two ids.
What has none is matched by the tag that the client sent in ``user`` (to the provider) and as
``x-farebox-run`` (to Farebox), and within a tag in the order of time. What is left over:

- a line without an attempt: the provider billed what the ledger does not know. Never right.
- an attempt without a line: right only where nothing, or nothing that it could read, reached the
  provider. Those are counted by class. A replica that is killed between the commit of a hold and the
  send leaves such a row, marked ``lost``: nobody can know any more that nothing was sent.
"""

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from proxy.store.engine import Database
from proxy.store.schema import attempts, calls

NOT_READ = "closed before the provider had read it"
NEVER_SENT = "lost before it was sent"
NOT_REACHED = "provider not reached"
UNEXPLAINED = "without explanation"
UNSEEN = "unseen"  # not streamed, and billed whole; but it came too late, or could not be read
GUESSED = ("counted", UNSEEN, "estimated")  # all but what the provider reported
WITHIN = 0.02  # of the invoice: how near the guessed ones must come, all together
LEAST_GUESSED = 200  # attempts: with fewer, a few odd calls decide
_SIGMAS = 2.58  # 99 of 100 times, chance does not go further


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of ``attempts``, with what its call says."""

    call_id: str
    number: int
    tag: str
    outcome: str
    started_at_us: int
    upstream_call_id: str
    status: int | None
    usage_source: str
    error: str
    cost_nano: int
    model: str
    flags: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the invoice."""

    request_id: str
    completion_id: str
    tag: str
    arrived: float
    status: int
    outcome: str
    model: str
    cost_nano: int
    stream: bool


@dataclass(slots=True)
class Difference:
    """Ledger - invoice of the attempts whose usage has one source."""

    attempts: int = 0
    ledger_nano: int = 0
    invoice_nano: int = 0
    each_nano: list[int] = field(default_factory=list)  # invoice's share, in per mille of the line
    off_nano: list[int] = field(default_factory=list)  # of each attempt, also of one without a line

    @property
    def nano(self) -> int:
        """Ledger - invoice."""
        return self.ledger_nano - self.invoice_nano


@dataclass(frozen=True, slots=True)
class Verdict:
    """How near the attempts come to the invoice whose usage the provider did not report.

    Each of them is off by chance: an answer that nobody saw was longer or shorter than usual. So the
    sum has a standard error, ``sqrt(n) * s`` for the sample deviation ``s``. The sum is wrong where even
    the end of its 99 % interval that is nearer to 0 is more than 2 % off: that is no chance. It is shown
    to be right where both ends are within; between the two, the run was too short to tell.
    """

    attempts: int
    share: float  # (ledger - invoice) / invoice
    margin: float  # half the 99 % interval of it

    @property
    def is_wrong(self) -> bool:
        """Whether a run with enough of them shows that they are off."""
        return self.attempts >= LEAST_GUESSED and abs(self.share) - self.margin > WITHIN

    def __str__(self) -> str:
        if math.isinf(self.margin):
            return "too few to tell"
        within = abs(self.share) + self.margin <= WITHIN
        told = f"{'within' if within else 'off'} {100 * WITHIN:g} %"
        if not (within or self.is_wrong):
            few = self.attempts < LEAST_GUESSED
            told = f"too few (of {LEAST_GUESSED}) to tell" if few else "chance can explain it"
        return f"{100 * self.share:+.2f} % ± {100 * self.margin:.2f} %: {told}"


@dataclass(slots=True)
class Reckoning:
    """What came of the comparison."""

    attempts: int = 0
    lines: int = 0
    calls: Counter[str] = field(default_factory=Counter)  # by outcome
    missing: list[Line] = field(default_factory=list)
    double: list[Attempt] = field(default_factory=list)
    alone: Counter[str] = field(default_factory=Counter)  # attempts without a line, by class
    unexplained: list[Attempt] = field(default_factory=list)
    differences: dict[str, Difference] = field(
        default_factory=lambda: defaultdict(Difference)
    )  # by the source of the usage
    wrong: list[tuple[Attempt, Line]] = field(default_factory=list)  # reported, and not the same
    pairs: list[tuple[Attempt, Line]] = field(default_factory=list)

    def verdict(self) -> Verdict:
        """On the counted and the estimated ones together."""
        found = [d for name, d in self.differences.items() if name in GUESSED]
        off = [nano for d in found for nano in d.off_nano]
        invoice = sum(d.invoice_nano for d in found)
        if len(off) < 2 or not invoice:  # noqa: PLR2004 - of one there is no deviation
            return Verdict(len(off), 0.0, math.inf)
        margin = _SIGMAS * math.sqrt(len(off)) * statistics.stdev(off)
        return Verdict(len(off), sum(off) / invoice, margin / invoice)


async def reckon(database: Database, invoice: Path) -> Reckoning:
    """Compare."""
    return compare(await _attempts(database), _lines(invoice), await _outcomes(database))


async def _attempts(database: Database) -> list[Attempt]:
    names = [name for name in Attempt.__slots__ if name not in {"tag", "outcome"}]
    columns = [attempts.c[name] for name in names]
    query = select(*columns, calls.c.run.label("tag"), calls.c.outcome).join(
        calls, calls.c.id == attempts.c.call_id
    )
    return [Attempt(**row) for row in await database.fetch(query)]


async def _outcomes(database: Database) -> Counter[str]:
    return Counter(row["outcome"] for row in await database.fetch(select(calls.c.outcome)))


def _lines(invoice: Path) -> list[Line]:
    if not invoice.exists():
        return []
    found = (json.loads(line) for line in invoice.read_bytes().splitlines())
    return [_line(values) for values in found]


def _line(values: dict[str, Any]) -> Line:
    chosen = {name: values[name] for name in Line.__slots__ if name != "tag"}
    words = ("completion_id", "model")
    return Line(**chosen | {w: values[w] or "" for w in words}, tag=values["user"] or "")


def compare(
    found: Sequence[Attempt], lines: Sequence[Line], outcomes: Counter[str] | None = None
) -> Reckoning:
    """Match attempts with lines, and add up."""
    result = Reckoning(attempts=len(found), lines=len(lines), calls=outcomes or Counter())
    without_line = _match_ids(found, lines, result)
    matched = {line.request_id for _, line in result.pairs}
    without_attempt = [line for line in lines if line.request_id not in matched]
    without_line, without_attempt = _match_tags(without_line, without_attempt, result)
    without_line = _match_unread(without_line, without_attempt, result)
    _explain(without_line, result)
    for attempt, line in result.pairs:
        _add(result, attempt, line)
    return result


def _match_ids(found: Iterable[Attempt], lines: Iterable[Line], result: Reckoning) -> list[Attempt]:
    by_id = {name: line for line in lines for name in (line.request_id, line.completion_id) if name}
    taken: set[str] = set()
    without = []
    for attempt in found:
        line = by_id.get(attempt.upstream_call_id)
        if line is None:
            without.append(attempt)
        elif line.request_id in taken:
            result.double.append(attempt)
        else:
            taken.add(line.request_id)
            result.pairs.append((attempt, line))
    return without


def _match_tags(
    found: Iterable[Attempt], lines: Iterable[Line], result: Reckoning
) -> tuple[list[Attempt], list[Line]]:
    by_tag: dict[str, list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: -line.arrived):
        by_tag[line.tag].append(line)
    nameless = by_tag.pop("", [])
    without = []
    for attempt in sorted(found, key=lambda a: (a.started_at_us, a.number)):
        if attempt.error != "connect" and by_tag.get(attempt.tag):
            result.pairs.append((attempt, by_tag[attempt.tag].pop()))
        else:
            without.append(attempt)
    return without, [*nameless, *(line for rest in by_tag.values() for line in rest)]


def _match_unread(found: list[Attempt], lines: Iterable[Line], result: Reckoning) -> list[Attempt]:
    """Lines without a tag are of requests that the provider could not read to their end."""
    could_be = [a for a in found if not a.upstream_call_id and a.error != "connect"]
    for line in lines:
        if line.tag or line.cost_nano or line.status or not could_be:
            result.missing.append(line)
        else:
            attempt = could_be.pop()
            found.remove(attempt)
            result.alone[NOT_READ] += 1
            _add_alone(result, attempt)
    return found


def _explain(found: Iterable[Attempt], result: Reckoning) -> None:
    for attempt in found:
        _add_alone(result, attempt)
        if attempt.outcome == "lost":
            result.alone[NEVER_SENT] += 1
        elif attempt.error == "connect":
            result.alone[NOT_REACHED] += 1
        elif attempt.error == "client_left" and attempt.status is None:
            result.alone[NOT_READ] += 1
        else:
            result.alone[UNEXPLAINED] += 1
            result.unexplained.append(attempt)


def _add_alone(result: Reckoning, attempt: Attempt) -> None:
    difference = result.differences[attempt.usage_source]
    difference.ledger_nano += attempt.cost_nano
    difference.off_nano.append(attempt.cost_nano)


def source_of(attempt: Attempt) -> str:
    """Where its usage came from, in the words of the table."""
    if attempt.usage_source == "estimated" and attempt.error != "lost":
        return UNSEEN
    return attempt.usage_source


def _add(result: Reckoning, attempt: Attempt, line: Line) -> None:
    difference = result.differences[source_of(attempt)]
    difference.attempts += 1
    difference.ledger_nano += attempt.cost_nano
    difference.invoice_nano += line.cost_nano
    off = attempt.cost_nano - line.cost_nano
    difference.off_nano.append(off)
    if line.cost_nano:
        difference.each_nano.append(round(1000 * off / line.cost_nano))
    if off and attempt.usage_source in {"provider", "none"}:
        result.wrong.append((attempt, line))
