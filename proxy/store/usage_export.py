"""A provider's usage export: days (UTC) × models, read from the files that providers give out.

Which form a file has is found out by its columns. Files are read row by row, and added up: the same day
and model may stand in many rows (by key, by project, by minute). Unknown columns are passed over.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

from proxy.core.errors import FareboxError

ALL_MODELS = "(all models)"  # where an export is not split by model
NO_MODEL = "(no model)"  # a fee that is none of a model's
Cells = Mapping[str, Any]


class UnreadableExport(FareboxError):
    """The file is no usage export that is understood."""


@dataclass(slots=True)
class Counts:
    """What a day and model used. What the export does not tell is None."""

    requests: int | None = None
    input_tokens: int | None = None  # all of it, cached and cache-written among it
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None

    def add(self, other: "Counts") -> None:
        """Add what another row tells."""
        for name in self.__slots__:
            more = getattr(other, name)
            if more is not None:
                setattr(self, name, (getattr(self, name) or 0) + more)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row: its day, and what was used; ``counts`` is None where the row says that nothing was."""

    day: str  # 2026-11-22
    model: str | None
    counts: Counts | None


@dataclass(slots=True)
class UsageExport:
    """What one or more files say, by day and model."""

    by_family: bool = False  # models go by their family's name, without the snapshot's date
    # Those that the files speak of, also where nothing was used.
    days: set[str] = field(default_factory=set)
    rows: dict[tuple[str, str], Counts] = field(default_factory=dict)
    forms: list[str] = field(default_factory=list)
    tells: set[str] = field(default_factory=set)  # which of the counts, by model
    tells_whole: set[str] = field(default_factory=set)  # and which of all models together

    def add(self, form: str, found: Iterable[ExportRow], tells: Iterable[str]) -> None:
        """Take the rows of a file in."""
        self.forms.append(form)
        parts: dict[tuple[str, str | None], Counts] = {}
        for row in found:
            self.days.add(row.day)
            if row.counts is not None:
                parts.setdefault((row.day, row.model or None), Counts()).add(row.counts)
        # A file without any model is one that was not split by it.
        unsplit = bool(parts) and all(model is None for _, model in parts)
        (self.tells_whole if unsplit else self.tells).update(tells)
        for (day, model), counts in parts.items():
            name = model or (ALL_MODELS if unsplit else NO_MODEL)
            self.rows.setdefault((day, name), Counts()).add(counts)


# Files


@dataclass(frozen=True, slots=True)
class Opened:
    """A file's head and its rows: those of a CSV, or the results of an API's pages with their bucket."""

    columns: frozenset[str]
    rows: Iterator[tuple[int, Cells]]  # with the line, or the place in the pages
    is_json: bool


def opened(path: Path, text: TextIO) -> Opened:
    """Begin to read a file. Raises UnreadableExport."""
    try:
        start = text.read(64).lstrip()[:1]
        text.seek(0)
        return _pages(text) if start in ("{", "[") else _table(path, text)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise UnreadableExport(f"{path} can't be read: {error}") from error


def _table(path: Path, text: TextIO) -> Opened:
    head = text.readline()
    if not head.strip():
        raise UnreadableExport(f"{path} is empty")
    delimiter = max((",", "\t", ";"), key=head.count)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter))]
    lines = csv.reader(text, delimiter=delimiter)
    rows = (
        (lines.line_num + 1, dict(zip(names, (cell.strip() for cell in line), strict=False)))
        for line in lines
        if any(line)
    )
    return Opened(frozenset(names), rows, is_json=False)


def _pages(text: TextIO) -> Opened:
    """One page, a list of pages, or a page a line: as the API answered."""
    rows: list[tuple[int, Cells]] = []
    columns: set[str] = set()
    for bucket in _buckets(text):
        times = {name: value for name, value in bucket.items() if name != "results"}
        columns |= times.keys()
        for result in bucket.get("results") or [{}]:
            columns |= result.keys()
            rows.append((len(rows) + 1, {**times, **result}))
    return Opened(frozenset(columns), iter(rows), is_json=True)


def _buckets(text: TextIO) -> Iterator[dict[str, Any]]:
    whole = text.read()
    decoder = json.JSONDecoder(parse_float=Decimal)
    place = len(whole) - len(whole.lstrip())
    while place < len(whole):
        value, place = decoder.raw_decode(whole, place)
        for page in value if isinstance(value, list) else [value]:
            data = page.get("data", [page]) if isinstance(page, dict) else None
            if not isinstance(data, list) or not all(isinstance(b, dict) for b in data):
                raise UnreadableExport('this JSON has no pages of buckets: `{"data": [{…}]}`')
            yield from data
        while place < len(whole) and whole[place].isspace():
            place += 1


# Cells


def day_of(cell: Any) -> str:
    """The UTC day of a time: epoch seconds, or ISO 8601. Raises ValueError."""
    if isinstance(cell, int) or (isinstance(cell, str) and cell.replace(".", "", 1).isdigit()):
        return datetime.fromtimestamp(float(cell), UTC).date().isoformat()
    moment = datetime.fromisoformat(str(cell))
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()


def count_of(cell: Any) -> int:
    """A count, also where it is written as ``1,234`` or ``1234.0``; 0 where it is absent."""
    value = amount_of(cell)
    if value != value.to_integral_value():
        raise ValueError(f"{cell!r} is no whole number")
    return int(value)


def amount_of(cell: Any) -> Decimal:
    """An amount, exactly as it is written; 0 where it is absent. Raises ValueError."""
    if cell is None or cell == "":
        return Decimal(0)
    try:
        value = Decimal(str(cell).replace(",", "").removeprefix("$"))
    except InvalidOperation:
        raise ValueError(f"{cell!r} is no number") from None
    if not value.is_finite():
        raise ValueError(f"{cell!r} is no number")
    return value
