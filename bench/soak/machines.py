"""The programs of a soak: the simulator, the replicas, the database; started, hurt, and stopped."""

import asyncio
import shutil
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.soak.config import Place
from tests.postgres import PostgresServer, new_server

_READY_WITHIN_S = 120.0  # on a machine that is busy with something else, too
_STOPS_WITHIN_S = 20.0
_LINES_SHOWN = 10


async def _start(arguments: Sequence[str], log: Path, *, talks: bool = False) -> Process:
    with log.open("ab") as said:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if talks else said,
            stderr=said,
        )  # fmt: skip


class Simulator:
    """The provider, with its invoice in a file."""

    def __init__(self, folder: Path) -> None:
        self.invoice = folder / "invoice.jsonl"
        self._log = folder / "simulator.log"
        self._process: Process | None = None
        self.url = ""

    async def start(self) -> None:
        """Start it; it says where it is."""
        arguments = ["proxy.simulator", "--invoice", str(self.invoice)]
        self._process = await _start(arguments, self._log, talks=True)
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self.url = (await self._process.stdout.readline()).decode().strip()

    async def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            await _end(self._process)


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOPS_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()


@dataclass(slots=True)
class Replica:
    """One ``python -m proxy serve``, with a clock that is ``ahead_ns`` ahead."""

    number: int
    place: Place
    ahead_ns: int
    disturbed: int = 0  # raised with each thing that a client may notice
    is_down: bool = False
    _process: Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.place.port}"

    async def start(self) -> None:
        """Start it, and return when it is ready; again and again, while its database is away.

        Raises RuntimeError with its log's end.
        """
        log = self.place.folder / "farebox.log"
        clock = ["bench.soak.clock", str(self.ahead_ns)]
        command = [*clock, "serve", "--config", str(self.place.config)]
        deadline = time.monotonic() + _READY_WITHIN_S
        async with httpx.AsyncClient(base_url=self.url, timeout=2) as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.returncode is not None:
                    self._process = await _start(command, log)
                if await _is_ready(client):
                    self.is_down = False
                    return
                await asyncio.sleep(0.05)
        said = "\n".join(log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:])
        raise RuntimeError(f"{self.url} is not ready; it said:\n{said}")

    async def kill(self) -> None:
        """As the kernel does it when memory is short."""
        self._hurt()
        self._running.kill()
        await self._running.wait()

    async def stop(self) -> None:
        """As an orchestrator does it."""
        self._hurt()
        await _end(self._running)

    def freeze(self) -> None:
        """Let it stand still: it lives, but nobody can tell."""
        self._hurt()
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._running.send_signal(signal.SIGCONT)
        self.is_down = False

    def reload(self) -> None:
        """Have it read its configuration at once."""
        self._running.send_signal(signal.SIGHUP)

    def _hurt(self) -> None:
        self.disturbed += 1
        self.is_down = True

    @property
    def _running(self) -> Process:
        assert self._process is not None  # noqa: S101 - it was started
        return self._process


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.HTTPError:
        return False


class SqliteFile:
    """The ledger in a file, and what can be done to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "farebox.db"
        self.url = f"sqlite:///{self._path}"

    async def pause(self, seconds: float) -> None:
        """Nobody can write: another program holds the lock, as a backup might."""

        def lock() -> None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
            connection.close()

        await asyncio.to_thread(lock)

    async def restart(self, _seconds: float) -> None:
        """A file has no server."""

    async def close(self) -> None:
        """Nothing to stop."""


class PostgresDatabase:
    """The ledger on a server of its own, and what can be done to it."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = f"{server.url}/postgres"

    async def pause(self, seconds: float) -> None:
        """It takes connections and answers nothing."""
        self._server.pause()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._server.resume()

    async def restart(self, seconds: float) -> None:
        """It ends what is under way, is away for a time, and comes back."""
        await asyncio.to_thread(self._server.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._server.start)

    async def close(self) -> None:
        """Stop it, and remove its files."""
        await asyncio.to_thread(self._server.stop)
        shutil.rmtree(self._server.base, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class GivenDatabase:
    """The ledger in an empty database of somebody else's, which is not to be hurt."""

    url: str

    async def pause(self, _seconds: float) -> None:
        """Not ours to pause."""

    async def restart(self, _seconds: float) -> None:
        """Not ours to restart."""

    async def close(self) -> None:
        """Not ours to stop."""


HomeDatabase = SqliteFile | PostgresDatabase | GivenDatabase


async def open_database(kind: str, folder: Path) -> HomeDatabase:
    """A new, empty one of a kind; or the one at this address."""
    if kind == "sqlite":
        return SqliteFile(folder)
    if kind != "postgres":
        return GivenDatabase(kind)
    return PostgresDatabase(await asyncio.to_thread(new_server))
