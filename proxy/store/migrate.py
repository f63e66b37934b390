"""The schema's migrations: found in a checkout and in an installed wheel, run under a lock.

Alembic is imported only where something is to be done: opening a database that is up to date asks
for one row and compares it with ``HEAD``.
"""

import asyncio
import fcntl
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from proxy.core.errors import LedgerError
from proxy.store.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"  # the newest migration; a test compares it with the files
_LOCK = 0x66617265_626F78  # "farebox": one upgrade at a time on a PostgreSQL


def script_location() -> Path:
    """The wheel carries the migrations as ``proxy/_migrations``; a checkout has them beside the package."""
    package = Path(str(files("proxy")))
    bundled = package / "_migrations"
    return bundled if bundled.is_dir() else package.parent / "migrations"


async def current(database: Database) -> str | None:
    """The migration that the database stands at; None for an empty one. Raises LedgerError."""
    return await database.run(_current, writes=False)


async def is_current(database: Database) -> bool:
    """Whether this version of Farebox can work on the database as it stands. Raises LedgerError."""
    return await current(database) == HEAD


async def make_folder(database: Database) -> None:
    """Make the folder of an SQLite file, where there is none yet. Raises LedgerError."""
    if not database.is_sqlite:
        return
    try:
        await asyncio.to_thread(database.path.parent.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(_not_made(database.path, error)) from error


async def upgrade(database: Database, to: str = "head") -> None:
    """Bring the database to a migration. Nothing happens where it stands there. Raises LedgerError."""
    if to == "head" and not database.is_absent and await is_current(database):
        return
    await _migrate(database, "upgrade", to)


async def downgrade(database: Database, to: str) -> None:
    """Take the database back to an older migration, or to ``base``. What does not fit there is lost."""
    await _migrate(database, "downgrade", to)


async def check(database: Database) -> list[str]:
    """How the tables differ from what this version expects: empty where they do not. Raises LedgerError."""
    return await database.run(_differences, writes=False)


def _not_made(path: Path, error: OSError) -> str:
    return f"the database file {path} can't be made: {error.strerror}"


def _current(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


async def _migrate(database: Database, verb: str, to: str) -> None:
    if database.is_sqlite:
        await asyncio.to_thread(_migrate_file, database, verb, to)
        return

    def locked(connection: Connection) -> None:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        _alembic(connection, verb, to)

    await database.run(locked)


def _migrate_file(database: Database, verb: str, to: str) -> None:
    # The file is the lock: a second process would give up on SQLite's own before a long migration ends.
    path = database.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise LedgerError(_not_made(path, error)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        database.run_here(lambda connection: _alembic(connection, verb, to))


def _alembic(connection: Connection, verb: str, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - 0.1 s that a start without work does not pay

    getattr(command, verb)(_config(connection), to)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _differences(connection: Connection) -> list[str]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - see above
    from alembic.migration import MigrationContext  # noqa: PLC0415

    from proxy.store.schema import is_ours, metadata  # noqa: PLC0415

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": is_ours}
    )
    return [str(difference) for difference in compare_metadata(context, metadata)]
