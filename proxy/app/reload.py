"""Watches the configuration file, and SIGHUP."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import structlog

_EVERY_S = 1.0
_WRITTEN_S = 0.2  # a file that did not change for so long is not being written any more

_log = structlog.get_logger("farebox")


class Stamp(NamedTuple):
    """What changes with the file."""

    mtime_ns: int
    size: int
    inode: int


async def watch_file(path: Path, reload: Callable[[], Awaitable[bool]]) -> None:
    """Call ``reload`` after each change of the file and each SIGHUP, until cancelled.

    The file is looked at once a second: that sees an editor's rename, a mounted volume and an
    orchestrator's swapped link alike, and costs a microsecond. (A watch on its folder would wake us
    for every write of a ledger beside it.) One that is being written is left alone until it is whole,
    and one without content is never read: half a configuration can be a valid one, that revokes
    every key. ``reload`` says whether it is done; else it is called again a second later.
    """
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A loop outside of the main thread gets no signals: asyncio says so by RuntimeError, uvloop by
    # ValueError. The file is looked at there, too.
    with contextlib.suppress(RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGHUP, wake.set)
    seen = _stamp(path)
    done = True
    while True:
        with contextlib.suppress(TimeoutError):  # it is time to look
            await asyncio.wait_for(wake.wait(), _EVERY_S)
        now = _stamp(path)
        if done and not wake.is_set() and (now is None or now == seen):
            continue
        wake.clear()
        seen = await _written(path, now)
        done = seen is None or not _has_content(path, seen) or await reload()


async def _written(path: Path, seen: Stamp | None) -> Stamp | None:
    """Wait until nobody writes the file."""
    while True:
        await asyncio.sleep(_WRITTEN_S)
        now = _stamp(path)
        if now == seen:
            return now
        seen = now


def _has_content(path: Path, stamp: Stamp) -> bool:
    if not stamp.size:
        _log.error("configuration_not_reloaded", problem=f"{path} is empty")
    return bool(stamp.size)


def _stamp(path: Path) -> Stamp | None:
    """None while the file is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
