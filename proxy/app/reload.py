"""Watches the configuration file, and SIGHUP."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

_EVERY_S = 1.0

Stamp = tuple[int, int, int]


async def watch_file(path: Path, reload: Callable[[], Awaitable[None]]) -> None:
    """Call ``reload`` after each change of the file and each SIGHUP, until cancelled.

    The file is looked at once a second: that sees an editor's rename, a mounted volume and an
    orchestrator's swapped link alike, and costs a microsecond. (A watch on its folder would wake us
    for every write of a ledger beside it.)
    """
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGHUP, wake.set)
    seen = _stamp(path)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), _EVERY_S)
        now = _stamp(path)
        if wake.is_set() or (now is not None and now != seen):
            wake.clear()
            seen = now
            await reload()


def _stamp(path: Path) -> Stamp | None:
    """What changes with the file; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
