"""The command itself, in processes of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
FAREBOX = [sys.executable, "-m", "proxy"]
_PATIENCE_S = 30.0
_ROOT = Path(__file__).resolve().parents[2]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of somebody who has set nothing of ours."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("FAREBOX_", "OPENAI_"))}
    return ours | {"PYTHONPATH": str(_ROOT), "COLUMNS": "250"} | dict(changes or {})


def farebox(
    *arguments: str, cwd: Path, changes: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*FAREBOX, *arguments],
        cwd=cwd,
        env=environment(changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass(slots=True)
class Service:
    """``farebox serve``, running."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def url(self) -> str:
        """Where it listens, as its log says."""
        started = self.events("started")[0]
        return f"http://{started['host']}:{started['port']}"

    def log(self) -> list[dict[str, Any]]:
        """The whole lines that it has logged."""
        whole = self.stdout.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        return [entry for entry in self.log() if entry["event"] == name]

    def until(self, check: Callable[[], T], *, within_s: float = _PATIENCE_S) -> T:
        """The first true answer of ``check`` while the service lives."""
        deadline = time.monotonic() + within_s
        while not (found := check()):
            told = self.stderr.read_text() + self.stdout.read_text()
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {told}"
            assert time.monotonic() < deadline, f"{check} stays false: {told}"
            time.sleep(0.02)
        return found

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(_PATIENCE_S)


@contextmanager
def service(
    cwd: Path, *arguments: str, ready: int = 1, changes: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """``farebox serve`` in a folder, once ``ready`` processes have started; killed at the end."""
    stdout, stderr = cwd / "stdout.txt", cwd / "stderr.txt"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            [*FAREBOX, "serve", "--port", "0", *arguments],
            cwd=cwd,
            env=environment(changes),
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    running = Service(process, stdout, stderr)
    try:
        running.until(lambda: len(running.events("started")) >= ready)
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
