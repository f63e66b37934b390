"""``farebox db``: the database's tables."""

from typing import TYPE_CHECKING

import typer

from proxy.cli.output import write
from proxy.cli.session import ConfigOption, load, run_async, use_config

if TYPE_CHECKING:
    from proxy.store.engine import Database

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
    """Show which migration the tables stand at; exit code 1 where this version needs another."""
    use_config(config)
    raise typer.Exit(run_async(_current()))


async def _current() -> int:
    from proxy.store import migrate  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.engine import Database  # noqa: PLC0415 - see above

    settings, _ = load()
    database = Database(settings.database)
    try:
        found = None if _missing(database) else await migrate.current(database)
    finally:
        await database.close()
    is_current = found == migrate.HEAD
    note = "" if is_current else f" (this version needs {migrate.HEAD}: farebox db upgrade)"
    write(f"{found or 'no tables yet'}{note}\n")
    return 0 if is_current else 1


def _missing(database: "Database") -> bool:
    # Opening an SQLite file makes it; asking where it stands must not.
    return database.is_sqlite and not database.path.exists()
