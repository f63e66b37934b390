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

if TYPE_CHECKING:
    from proxy.core.present import CallRow
    from proxy.store.call_filter import CallFilter


class ExportFormat(StrEnum):
    """The forms of a file."""

    CSV = "csv"
    JSONL = "jsonl"


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
    """Write every call, the oldest first: CSV with a heading, or a JSON object a line."""
    from proxy.store.call_filter import CallFilter  # noqa: PLC0415 - slow; ``--help`` does without

    use_config(config)
    wanted = CallFilter(
        team=team, key=key, model=model, tag=tag, from_us=_us(since), to_us=_us(until)
    )
    run_async(_export(wanted, output, file_format))


def _us(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1_000_000)


async def _export(wanted: "CallFilter", path: Path | None, file_format: ExportFormat) -> None:
    from proxy.store.records import Records  # noqa: PLC0415 - slow; ``--help`` does without

    settings, _ = load()
    async with opened(settings) as database:
        records = Records(database)
        total = await records.count(wanted)
        with _target(path) as out, progress("calls", total) as advance:
            await _write(records.export(wanted), out, file_format, advance)


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
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as out:
            yield out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
