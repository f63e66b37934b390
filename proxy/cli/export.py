"""``farebox export``: every call as a file, in flat memory."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from proxy.cli.output import csv_text
from proxy.cli.progress import Advance, progress
from proxy.cli.report import From, Team, To
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config
from proxy.core.errors import FareboxError
from proxy.store.clock import epoch_us

if TYPE_CHECKING:
    from proxy.core.present import CallRow
    from proxy.store.call_filter import CallFilter
    from proxy.store.engine import Database


class ExportFormat(StrEnum):
    """The forms of a file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FOCUS = "focus"


def export(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; else stdout.", dir_okay=False)
    ] = None,
    file_format: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.CSV,
    since: From = None,
    until: To = None,
    team: Team = None,
    key: Annotated[str | None, typer.Option(help="This key's calls only.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model, requested or served.")] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag: name=value, or a name.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write every call, the oldest first.

    As CSV with a heading, a JSON object a line, or Parquet. ``focus``: what was charged, by day and meter, as CSV in the columns of FOCUS 1.2.
    """
    from proxy.store.call_filter import CallFilter  # noqa: PLC0415 - slow; ``--help`` does without

    use_config(config)
    wanted = CallFilter(
        team=team, key=key, model=model, tag=tag, from_us=_us(since), to_us=_us(until)
    )
    run_async(_export(wanted, output, file_format))


def _us(at: datetime | None) -> int | None:
    return None if at is None else epoch_us(at)


async def _export(wanted: "CallFilter", path: Path | None, file_format: ExportFormat) -> None:
    from proxy.store.records import Records  # noqa: PLC0415 - slow; ``--help`` does without

    settings, _ = load()
    if file_format is ExportFormat.PARQUET and path is None:
        raise FareboxError("Parquet is a file: name it with --output")
    async with opened(settings) as database:
        records = Records(database)
        total = await records.count(wanted)
        with progress("calls", total) as advance:
            if file_format is ExportFormat.FOCUS:
                with _target(path) as out:
                    await _write_focus(database, wanted, out, advance)
            elif file_format is ExportFormat.PARQUET and path is not None:
                with _whole(path) as part:
                    await _write_parquet(records.export(wanted), part, advance)
            else:
                with _target(path) as out:
                    await _write(records.export(wanted), out, file_format, advance)


async def _write_focus(
    database: "Database", wanted: "CallFilter", out: TextIO, advance: Advance
) -> None:
    from proxy.core.focus import COLUMNS, FocusDays  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.charges import charges  # noqa: PLC0415 - see above

    days, names = FocusDays(), list(COLUMNS)
    out.write(csv_text([], names))
    async for count, page in charges(database, wanted):
        over = [row for charged in page for row in days.add(charged)]
        out.write(csv_text(over, names, heading=False))
        advance(count)
    out.write(csv_text(days.finish(), names, heading=False))
    out.flush()


async def _write_parquet(
    pages: "AsyncIterator[list[CallRow]]", path: Path, advance: Advance
) -> None:
    from proxy.cli.parquet import ParquetFile  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.core.present import CallRow  # noqa: PLC0415 - see above

    names = list(CallRow.__slots__)
    with ParquetFile(path, names) as file:
        async for page in pages:
            file.write([{name: getattr(row, name) for name in names} for row in page])
            advance(len(page))


async def _write(
    pages: "AsyncIterator[list[CallRow]]", out: TextIO, file_format: ExportFormat, advance: Advance
) -> None:
    from proxy.core.present import CallRow  # noqa: PLC0415 - slow; ``--help`` does without

    names = list(CallRow.__slots__)
    if file_format is ExportFormat.CSV:
        out.write(csv_text([], names))
    async for page in pages:
        out.write(
            _json_lines(page) if file_format is ExportFormat.JSONL else _csv_lines(page, names)
        )
        advance(len(page))
    out.flush()


def _json_lines(page: "list[CallRow]") -> str:
    import orjson  # noqa: PLC0415 - slow; ``--help`` does without

    return "".join(orjson.dumps(row).decode() + "\n" for row in page)


def _csv_lines(page: "list[CallRow]", names: list[str]) -> str:
    rows = ({name: getattr(row, name) for name in names} for row in page)
    return csv_text(rows, names, heading=False)


@contextlib.contextmanager
def _target(path: Path | None) -> Iterator[TextIO]:
    """The file, complete or not there at all; or stdout."""
    if path is None:
        yield sys.stdout
        return
    with _whole(path) as part, part.open("w", encoding="utf-8", newline="") as out:
        yield out


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file has its own once all of it is there."""
    if not path.parent.is_dir():
        raise FareboxError(
            f"there is no folder {path.parent} to write {path.name} to; make it first"
        )
    temporary = path.with_name(path.name + ".part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
