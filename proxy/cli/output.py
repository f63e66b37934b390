"""How commands show rows: a table for people, JSON and CSV for programs, Markdown for a report."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from proxy.cli.table import drawn


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to show it.")]
Row = Mapping[str, Any]
_PIPED_WIDTH = 250  # a table that is read by no terminal is not cut at 80 characters


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: the field, its heading, and whether it is a number."""

    field: str
    heading: str = ""
    number: bool = False

    @property
    def title(self) -> str:
        """What stands over it."""
        return self.heading or self.field.replace("_", " ")


def show(rows: Sequence[Row], columns: Sequence[Column], output: Format, title: str = "") -> None:
    """Rows in the form that was asked for: JSON and CSV have every field, tables the columns."""
    match output:
        case Format.JSON:
            write(json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n")
        case Format.CSV:
            write(csv_text(rows, [column.field for column in columns]))
        case Format.MD:
            write(_markdown(rows, columns, title))
        case Format.TABLE:
            _table(rows, columns, title)


def write(text: str) -> None:
    """To stdout, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def csv_text(rows: Iterable[Row], fields: Sequence[str], *, heading: bool = True) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = list(fields)
    rows = list(rows)
    for row in rows[:1]:
        names += [name for name in row if name not in names]
    if heading:
        writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)


def _markdown(rows: Sequence[Row], columns: Sequence[Column], title: str) -> str:
    lines = [f"## {title}", ""] if title else []
    lines.append("| " + " | ".join(c.title for c in columns) + " |")
    lines.append("|" + "|".join("---:" if c.number else "---" for c in columns) + "|")
    for row in rows:
        cells = [_text(row.get(c.field)).replace("|", "\\|").replace("\n", " ") for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row], columns: Sequence[Column], title: str) -> None:
    if not rows:
        write(f"{title + ': ' if title else ''}nothing to show\n")
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_WIDTH
    texts = [[_text(row.get(column.field)) for column in columns] for row in rows]
    lines = drawn([c.title for c in columns], texts, [c.number for c in columns], width)
    write("\n".join([*([title] if title else ()), *lines]) + "\n")
