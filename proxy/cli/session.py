"""What a command starts from: the configuration, and the database and ledger opened for a while."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from proxy.core.call import Team
    from proxy.ledger.base import Ledger
    from proxy.settings import Settings
    from proxy.store.engine import Database
    from proxy.store.keys import KeyStore

T = TypeVar("T")
ACTOR = "cli"
_HERE = Path("farebox.yaml")
_config: ContextVar[Path | None] = ContextVar("config", default=None)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file; else FAREBOX_CONFIG, else ./farebox.yaml where there is one.",
        dir_okay=False,
    ),
]


def use_config(path: Path | None) -> None:
    """Remember the file that the command line names, wherever on it that is."""
    if path is not None:
        _config.set(path)


def config_path() -> Path | None:
    """The configuration file; None where there is none and everything is at its default."""
    named = _config.get()
    if named is None and (variable := os.environ.get("FAREBOX_CONFIG")):
        named = Path(variable)
    return named or (_HERE if _HERE.exists() else None)


def load() -> "tuple[Settings, Path | None]":
    """The configuration and its file. Raises ConfigurationError."""
    from proxy.settings import load_settings  # noqa: PLC0415 - slow; ``--help`` does without

    path = config_path()
    return load_settings(path, os.environ), path


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(work)


@contextlib.asynccontextmanager
async def opened(settings: "Settings") -> "AsyncIterator[Database]":
    """The database, for work that may have something to warn of. Raises LedgerError."""
    _warn_on_stderr()
    async with opened_to_read(settings) as database:
        yield database


@contextlib.asynccontextmanager
async def opened_to_read(settings: "Settings") -> "AsyncIterator[Database]":
    """The database, migrated where it is new. Raises LedgerError."""
    from proxy.store import migrate  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.engine import Database  # noqa: PLC0415 - see above

    database = Database(settings.database)
    is_new = database.is_absent
    try:
        await migrate.upgrade(database)
        if is_new:  # by chance, in the wrong folder?
            sys.stderr.write(f"farebox: {settings.database_shown} was not there; made it, empty\n")
        yield database
    finally:
        await database.close()


def _warn_on_stderr() -> None:
    """Warnings of the parts below go beside the output, never into it."""
    import structlog  # noqa: PLC0415 - slow; ``--help`` does without

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


@contextlib.asynccontextmanager
async def opened_ledger(settings: "Settings") -> "AsyncIterator[tuple[Ledger, Database]]":
    """The ledger on its database. Raises LedgerError."""
    from proxy.ledger.opening import open_ledger  # noqa: PLC0415 - slow; ``--help`` does without

    async with opened(settings) as database:
        ledger = open_ledger(database, settings.ledger)
        await ledger.start()
        try:
            yield ledger, database
        finally:
            await ledger.stop()


async def teams_known(settings: "Settings", database: "Database") -> "Mapping[str, Team]":
    """The teams of the configuration; where it has none (a demo), those that have keys."""
    from proxy.core.call import Team  # noqa: PLC0415 - see above
    from proxy.store import key_rows  # noqa: PLC0415 - see above

    if settings.teams:
        return settings.core_teams()
    rows = await database.fetch(key_rows.all_keys())
    return {row["team"]: Team(row["team"]) for row in rows}


async def key_store(settings: "Settings", database: "Database") -> "KeyStore":
    """The keys, to be changed."""
    from proxy.store.keys import KeyStore  # noqa: PLC0415 - see above

    return KeyStore(database, await teams_known(settings, database))
