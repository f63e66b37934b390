"""Metric families: how each is declared, what its values are, and how they are written down.

Values are integers in the smallest unit of their family (microseconds, nano-dollars), so that sums
over calls and over processes are exact; ``scale`` turns them into the unit that is shown. Adding to
plain integers costs a tenth of what the client library's locked floats cost, and a page of a few
thousand series is written in milliseconds, which matters beside the data path.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.core.money import NANO_PER_USD, usd

Labels = tuple[str, ...]
Value = int | list[int]  # a histogram's is the count of each bucket, then the sum
Series = Mapping[Labels, Value]
Snapshot = Mapping[str, Series]

MICROSECONDS = 1_000_000


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

    def value(self) -> list[int]:
        """A copy to show: the counts of the buckets, then the sum."""
        return [*self.counts, self.total]


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


# The text format of Prometheus, version 0.0.4

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(families: Sequence[Family], values: Snapshot) -> bytes:
    """Every family with its series, in the order of declaration; one without series shows its meaning only."""
    lines: list[str] = []
    for family in families:
        lines += (
            f"# HELP {family.name} {_help(family.help)}",
            f"# TYPE {family.name} {family.kind}",
        )
        for labels, value in values.get(family.name, {}).items():
            text = _label_text(family.labels, labels)
            if isinstance(value, int):
                lines.append(f"{family.name}{_braced(text)} {_shown(value, family.scale)}")
            else:
                lines += _histogram_lines(family, text, value)
    lines.append("")
    return "\n".join(lines).encode()


def _histogram_lines(family: Family, text: str, value: list[int]) -> Iterable[str]:
    comma = "," if text else ""
    below = 0
    for bound, count in zip((*family.bounds, None), value, strict=False):
        below += count
        le = "+Inf" if bound is None else f"{float(bound):g}"
        yield f'{family.name}_bucket{{{text}{comma}le="{le}"}} {below}'
    yield f"{family.name}_count{_braced(text)} {below}"
    yield f"{family.name}_sum{_braced(text)} {_shown(value[-1], family.scale)}"


def _braced(text: str) -> str:
    return f"{{{text}}}" if text else ""


def _shown(value: int, scale: int) -> str:
    if scale == 1:
        return str(value)
    return usd(value) if scale == NANO_PER_USD else repr(value / scale)


def _label_text(names: Labels, values: Labels) -> str:
    return ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
