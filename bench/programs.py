"""Programs of the benchmark: found, started on a processor of their own, awaited, stopped."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

GATEWAY_CPU = 0
LOAD_CPU = 1  # the mock's, too
_PACKAGES = {
    "nginx": "nginx-light",
    "taskset": "util-linux",
    "callgrind_control": "valgrind",
    "callgrind_annotate": "valgrind",
}
_STOP_S = 20.0


class Missing(Exception):
    """A program that is not installed, and how to get it."""


def program(name: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {_PACKAGES.get(name, name)}")
    return found


def pinned(command: Sequence[str], cpu: int | None) -> list[str]:
    """The command, kept to one processor where there are two and ``taskset`` is there."""
    if cpu is None or not is_pinning():
        return list(command)
    return [program("taskset"), "--cpu-list", str(cpu), *command]


def is_pinning() -> bool:
    """Whether gateway and load can have a processor each."""
    return len(os.sched_getaffinity(0)) > LOAD_CPU and shutil.which("taskset") is not None


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    cpu: int | None,
    log: Path,
    environment: dict[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program while the block runs; what it says goes to ``log``."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            pinned(command, cpu),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_port(process: subprocess.Popen[bytes], port: int, log: Path, limit_s: float = 60) -> None:
    """Return when the port takes connections. Raises RuntimeError with what the program said."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.002)
    said = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{process.args!r} does not listen on port {port}; it said:\n{said}")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
