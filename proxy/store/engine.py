"""One way to the database for everything but the data path: the admin API, reports, commands, sweeps.

The same code runs on both databases: SQLite's connections work in a thread, PostgreSQL's on the
event loop, and what is passed to ``Database.run`` sees SQLAlchemy's plain ``Connection`` in either.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    RowMapping,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from proxy.core.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000  # how long SQLite waits for another process's transaction
BUSY_RETRIES = 1  # and how often it is asked again after that
_CLOSES_WITHIN_S = 1.0
_WRITES = "farebox_writes"
_AWAY = (  # PostgreSQL's SQLSTATEs: it starts up or shuts down, has no connection left, or no time
    "57P01", "57P02", "57P03", "53300", "57014", "55P03",
)  # fmt: skip
_AGAIN = ("40001", "40P01")  # it asks for the transaction again: others were in the way
_TRIES = 5


class DatabaseAway(LedgerError):
    """The database does not answer, or not yet; or it has no time."""


class Database:
    """A database by its URL: ``sqlite:///file`` or ``postgresql://user:password@host/name``.

    Every failure is a LedgerError.
    """

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._bounded: set[asyncio.Task[Any]] = set()  # may outlive who asked
        if self.is_sqlite:
            self._engine = sqlite_engine(self.path, pool_size)
        else:
            self._async_engine = postgres_engine(self.url, pool_size)

    @property
    def path(self) -> Path:
        """SQLite's file."""
        return Path(self.url.database or "")

    @property
    def is_absent(self) -> bool:
        """Whether SQLite's file is not there yet. Opening it makes it: asking where it stands must not."""
        return self.is_sqlite and not self.path.exists()

    @property
    def dsn(self) -> str:
        """PostgreSQL's address, as asyncpg reads it."""
        url = self.url.set(drivername="postgresql")
        return url.render_as_string(hide_password=False)

    async def fetch(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        within_s: float | None = None,
    ) -> Sequence[RowMapping]:
        """The rows of a query."""

        def read(connection: Connection) -> Sequence[RowMapping]:
            return connection.execute(statement, parameters).mappings().all()

        return await self.run(read, writes=False, within_s=within_s)

    async def run(
        self,
        work: Callable[[Connection], T],
        *,
        writes: bool = True,
        within_s: float | None = None,
    ) -> T:
        """Run ``work`` in one transaction: committed where it returns, rolled back where it raises.

        With ``writes=False`` it takes no lock. ``work`` may run again where the database asked for it.
        ``within_s`` is for callers who can't wait: a server that stands still takes connections, and
        answers nothing until the time-out of a command. (A file is there, or is not.)
        """
        if self._engine is not None:
            return await asyncio.to_thread(self.run_here, work, writes=writes)
        if self._async_engine is None:
            raise LedgerError("the database is closed")
        with _explained():
            transaction = _transact(self._async_engine, work)
            return await (transaction if within_s is None else self._in_time(transaction, within_s))

    async def _in_time(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """What comes of the work. Raises TimeoutError, and leaves it to end by itself.

        To give up a query politely takes the driver seconds where the server does not answer.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._bounded.add(task)
        task.add_done_callback(self._forget)
        try:
            if not (await asyncio.wait((task,), timeout=within_s))[0]:
                raise TimeoutError(f"no answer within {within_s:g} s")
            return task.result()
        finally:
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._bounded.discard(task)
        if not task.cancelled():
            task.exception()  # it may be that nobody asks for it any more

    def run_here(self, work: Callable[[Connection], T], *, writes: bool = True) -> T:
        """The same in this thread, for SQLite only."""
        if self._engine is None:
            raise LedgerError("the database is closed, or does not run in a thread")
        with _explained():
            for _ in range(BUSY_RETRIES):
                try:
                    return self._transact(self._engine, work, writes=writes)
                except OperationalError as error:
                    if not is_busy(error.orig):
                        raise
            return self._transact(self._engine, work, writes=writes)

    @staticmethod
    def _transact(engine: Engine, work: Callable[[Connection], T], *, writes: bool) -> T:
        options = {_WRITES: writes}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            return work(connection)

    async def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._async_engine is not None:
            if self._bounded:
                await asyncio.wait(self._bounded)
            # Politely, unless the server does not listen: the driver would wait a minute for it.
            closing = asyncio.get_running_loop().create_task(self._async_engine.dispose())
            if not (await asyncio.wait((closing,), timeout=_CLOSES_WITHIN_S))[0]:
                closing.cancel()
                await asyncio.wait((closing,), timeout=_CLOSES_WITHIN_S)
            self._async_engine = None


async def _transact(engine: "AsyncEngine", work: Callable[[Connection], T]) -> T:
    for _ in range(_TRIES - 1):
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        except DBAPIError as error:
            if _state(error) not in _AGAIN:
                raise
    async with engine.begin() as connection:
        return await connection.run_sync(work)


def _state(error: DBAPIError) -> str:
    """PostgreSQL's SQLSTATE, or nothing."""
    return getattr(error.orig, "sqlstate", None) or ""


class _explained:  # noqa: N801 - reads as a word in a with statement
    """Turns what a driver raises into a LedgerError, without the statement's parameters."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError):
            away = error.connection_invalidated or _state(error) in _AWAY or is_busy(error.orig)
            failure = DatabaseAway if away else LedgerError
            raise failure(f"the database says: {error.orig}") from error
        if isinstance(error, PoolTimeout | OSError | TimeoutError):
            raise DatabaseAway(f"the database does not answer: {error}") from error


def is_busy(error: BaseException | None) -> bool:
    """Whether SQLite only says that another process is writing."""
    return isinstance(error, sqlite3.OperationalError) and getattr(
        error, "sqlite_errorcode", 0
    ) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


# SQLite


def sqlite_engine(path: Path, pool_size: int) -> Engine:
    """Connections to a file, each transaction begun by us: pysqlite's own begin comes too late."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), pool_size=pool_size, max_overflow=pool_size
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    prepare_sqlite(connection)


def prepare_sqlite(connection: sqlite3.Connection, *, full: bool = False) -> None:
    """What every connection to the file agrees on."""
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    # Of a new file: a commit writes each page that it touched, and a call's rows are small.
    connection.execute("PRAGMA page_size=2048")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    # A transaction that will write takes the lock at once: one that only asks for it at its first
    # write fails where another process wrote in between, and no waiting helps it.
    writes = connection.get_execution_options().get(_WRITES, True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


# PostgreSQL


def postgres_engine(url: URL, pool_size: int) -> "AsyncEngine":
    """A small pool on asyncpg. A connection that died while idle is replaced unseen."""
    # With SQLite, a report would wait a fifth of a second for what it never uses.
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - see above

    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=2.0,
        connect_args={"timeout": 2.0, "command_timeout": 60.0},
    )
