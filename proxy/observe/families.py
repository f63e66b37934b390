"""Metric families: how each is declared, and what its values are.

Values are integers in the smallest unit of their family (microseconds, nano-dollars), so that sums
over calls and over processes are exact; ``scale`` turns them into the unit that is shown. Adding to
plain integers costs a tenth of what the client library's locked floats cost, and a page of a few
thousand series is written in milliseconds, which matters beside the data path.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

Labels = tuple[str, ...]
Value = int | list[int]  # a histogram's is the count of each bucket, then the sum
Series = Mapping[Labels, Value]
Snapshot = Mapping[str, Series]

MICROSECONDS = 1_000_000


class Exemplar(NamedTuple):
    """A call that fell into a bucket of a histogram: the way from a figure to one call's row."""

    call_id: str
    value: int
    started_at_us: int


Exemplars = Mapping[str, Mapping[Labels, Mapping[int, Exemplar]]]  # family, labels, bucket


class Counted(NamedTuple):
    """What a process counted, and a call to look at for some of it."""

    values: Snapshot
    exemplars: Exemplars


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: name, meaning, labels, and for a histogram its upper bounds in the shown unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    scale: int = 1
    bounds: tuple[float, ...] = ()

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The bounds in the unit of the values."""
        return tuple(round(bound * self.scale) for bound in self.bounds)


class Histogram:
    """Counts of observations by bucket, and their sum."""

    __slots__ = ("counts", "thresholds", "total")

    def __init__(self, thresholds: tuple[int, ...]) -> None:
        self.thresholds = thresholds
        self.counts = [0] * (len(thresholds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        """Count a value into the first bucket whose bound it does not pass."""
        self.counts[bisect_left(self.thresholds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[int]) -> None:
        """Count many values."""
        for place, count in Counter(map(partial(bisect_left, self.thresholds), values)).items():
            self.counts[place] += count
        self.total += sum(values)

    def value(self) -> list[int]:
        """A copy to show: the counts of the buckets, then the sum."""
        return [*self.counts, self.total]


class CallHistogram(Histogram):
    """Counts of calls by bucket, with the latest call of each."""

    __slots__ = ("latest",)

    def __init__(self, thresholds: tuple[int, ...]) -> None:
        super().__init__(thresholds)
        self.latest: dict[int, tuple[str, int, int]] = {}

    def observe_call(self, value: int, call_id: str, started_at_us: int) -> None:
        """Count a call, and remember it as the one to look at."""
        place = bisect_left(self.thresholds, value)
        self.counts[place] += 1
        self.total += value
        self.latest[place] = (call_id, value, started_at_us)

    def observe_calls(self, values: Sequence[int], calls: Iterable[tuple[str, int]]) -> None:
        """Count many calls, each with its id and when it started; the latest ones are remembered."""
        places = list(map(partial(bisect_left, self.thresholds), values))
        for place, count in Counter(places).items():
            self.counts[place] += count
        self.total += sum(values)
        seen = zip(places, values, calls, strict=True)
        latest = {place: (value, *call) for place, value, call in seen}
        for place, (value, call_id, started_at_us) in latest.items():
            self.latest[place] = (call_id, value, started_at_us)

    def exemplars(self) -> dict[int, Exemplar]:
        """A copy to show."""
        return {place: Exemplar(*latest) for place, latest in self.latest.items()}


def merged(snapshots: Iterable[Snapshot]) -> dict[str, dict[Labels, Value]]:
    """Several processes' values added up."""
    total: dict[str, dict[Labels, Value]] = {}
    for snapshot in snapshots:
        for name, series in snapshot.items():
            into = total.setdefault(name, {})
            for labels, value in series.items():
                into[labels] = _added(into[labels], value) if labels in into else value
    return total


def _added(one: Value, other: Value) -> Value:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    raise TypeError("a family's values are all of one kind")


def latest(parts: Iterable[Exemplars]) -> dict[str, dict[Labels, dict[int, Exemplar]]]:
    """Several processes' exemplars: of each bucket the one that started last."""
    found: dict[str, dict[Labels, dict[int, Exemplar]]] = {}
    for part in parts:
        for name, series in part.items():
            for labels, buckets in series.items():
                into = found.setdefault(name, {}).setdefault(labels, {})
                for place, exemplar in buckets.items():
                    if place not in into or into[place].started_at_us < exemplar.started_at_us:
                        into[place] = exemplar
    return found
