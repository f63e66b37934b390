"""Watches the configuration file, and SIGHUP."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch


async def watch_file(path: Path, reload: Callable[[], Awaitable[None]]) -> None:
    """Call ``reload`` after each change of the file and each SIGHUP, until cancelled.

    The folder is watched, because editors and orchestrators replace the file.
    """
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGHUP, wake.set)
    watcher = loop.create_task(_wake_on_change(path.resolve(), wake))
    try:
        while True:
            await wake.wait()
            wake.clear()
            await reload()
    finally:
        watcher.cancel()


async def _wake_on_change(path: Path, wake: asyncio.Event) -> None:
    # Polled where the file system tells nothing; rust-side debouncing waits for a quiet moment.
    async for changes in awatch(path.parent, recursive=False, debounce=200, step=50):
        if any(Path(changed) == path or path.is_symlink() for _, changed in changes):
            wake.set()
