"""``farebox db``: the database's tables."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.output import Column, Format, FormatOption, show, write
from proxy.cli.progress import progress
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config
from proxy.cli.spans import span_s

if TYPE_CHECKING:
    from proxy.ledger.prune import Cut, Pruned

app = typer.Typer(help="The database's tables.", no_args_is_help=True)


@app.command()
def upgrade(*, config: ConfigOption = None) -> None:
    """Bring the tables to what this version needs. ``serve`` does it by itself."""
    use_config(config)
    run_async(_upgrade())


async def _upgrade() -> None:
    from proxy.store import migrate  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.engine import Database  # noqa: PLC0415 - see above

    settings, _ = load()
    database = Database(settings.database)
    try:
        await migrate.upgrade(database)
        write(f"{settings.database_shown}: at {await migrate.current(database)}\n")
    finally:
        await database.close()


@app.command()
def current(*, config: ConfigOption = None) -> None:
    """Show which migration the tables stand at.

    The exit code is 1 where this version needs another.
    """
    use_config(config)
    raise typer.Exit(run_async(_current()))


async def _current() -> int:
    from proxy.store import migrate  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.engine import Database  # noqa: PLC0415 - see above

    settings, _ = load()
    database = Database(settings.database)
    try:
        found = None if database.is_absent else await migrate.current(database)
    finally:
        await database.close()
    is_current = found == migrate.HEAD
    note = "" if is_current else f" (this version needs {migrate.HEAD}: farebox db upgrade)"
    write(f"{found or 'no tables yet'}{note}\n")
    return 0 if is_current else 1


@app.command()
def prune(
    *,
    older_than: Annotated[
        float, typer.Option("--older-than", parser=span_s, help="What is older: 90d, 26w.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Delete the rows of old calls. Reports by rollup, budgets and their totals stay as they are."""
    use_config(config)
    where, pruned = run_async(_prune(older_than, dry_run=dry_run))
    title = f"Pruned before {where.day}" + (" (dry run: nothing was deleted)" if dry_run else "")
    row = {
        "before": where.day,
        "calls": pruned.calls,
        "attempts": pruned.attempts,
        "adjustments": pruned.adjustments,
        "ended_windows": pruned.windows,
        "months": ", ".join(pruned.months),
        "bytes": pruned.bytes,
        "dry_run": dry_run,
    }
    columns = [Column(name, number=name not in ("before", "months")) for name in row]
    show([row], columns[:-1], output, title)
    if where.kept_by:
        sys.stderr.write(f"kept from {where.day} on, later than asked: {where.kept_by}\n")


async def _prune(older_than_s: float, *, dry_run: bool) -> "tuple[Cut, Pruned]":
    from proxy.ledger.prune import Pruned  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.ledger.pruning import Pruning  # noqa: PLC0415 - see above

    settings, _ = load()
    async with opened(settings) as database:
        pruning = Pruning(database, older_than_s)
        where, planned = await pruning.plan()
        if dry_run:
            return where, planned
        done = Pruned()
        with progress("calls", planned.calls) as advance:
            async for step in pruning.run(where):
                done += step
                advance(step.calls)
        return where, done
