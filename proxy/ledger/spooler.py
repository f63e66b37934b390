"""The spool from the event loop's side: entries that come together are flushed together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
from msgspec import MsgspecError

from proxy.ledger.base import Operation
from proxy.ledger.spool import SUFFIX, Spool, SpoolError, left_behind
from proxy.ledger.spooled import operation_of

ASIDE = "set-aside"  # entries that the database does not take, for a human to look at
_READ_AT_ONCE = 1024

_log = structlog.get_logger("farebox.ledger")

Replay = Callable[[Sequence[Operation]], Awaitable[None]]


class Spooler:
    """The spool of this process, and those that others left behind."""

    def __init__(self, folder: Path, owner: str, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._spool = Spool(folder / (owner.replace(":", "-") + SUFFIX), limit_bytes)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._optional_until = limit_bytes // 2  # of the file: the rest is for what must be kept
        self._flushing: asyncio.Task[None] | None = None
        self._file = asyncio.Lock()  # one thread at a time has the file
        self.rows = 0

    async def append(self, entry: bytes, *, optional: bool = False) -> None:
        """Keep an entry: it is safe on disk when this returns. Raises SpoolError.

        An ``optional`` one is kept only while half of the spool is free.
        """
        if optional and self._spool.size + len(entry) > self._optional_until:
            raise SpoolError(f"{self._spool.path} is half full: the rest is for settlements")
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        self._waiting.append((entry, kept))
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush())
        await kept

    async def _flush(self) -> None:
        while self._waiting:
            async with self._file:
                batch, self._waiting = self._waiting, []
                try:
                    await asyncio.to_thread(self._spool.append, [entry for entry, _ in batch])
                except SpoolError as error:
                    for _, kept in batch:
                        if not kept.done():
                            kept.set_exception(SpoolError(*error.args))
                    continue
                self.rows += len(batch)
            for _, kept in batch:
                if not kept.done():
                    kept.set_result(None)

    async def replay(self, replay: Replay, then: Callable[[], None] = lambda: None) -> None:
        """Replay this process's entries until none is left, then call ``then`` before one can come."""
        start = 0
        while True:
            async with self._file:
                operations, start = await asyncio.to_thread(_read, self._spool, start)
                if not operations:
                    if self._spool.is_open:
                        self._spool.clear()
                    self.rows = 0
                    then()
                    return
            await replay(operations)

    async def replay_all(self, spool: Spool, replay: Replay) -> None:
        """Replay what another process left behind, and remove its file."""
        start = 0
        while True:
            operations, start = await asyncio.to_thread(_read, spool, start)
            if not operations:
                break
            await replay(operations)
        spool.clear()
        spool.close(remove=True)

    async def left_behind(self) -> list[Spool]:
        """The spools of processes that are gone."""
        return await asyncio.to_thread(lambda: list(left_behind(self._folder, self._limit)))

    async def set_aside(self, entry: bytes) -> None:
        """Keep an entry that the database does not take, apart from what is replayed. Raises SpoolError."""
        aside = Spool(self._folder / ASIDE, self._limit)

        def keep() -> None:
            aside.open(wait=True)  # the folder's other processes keep theirs in the same file
            try:
                aside.append([entry])
            finally:
                aside.close()

        await asyncio.to_thread(keep)

    async def close(self) -> None:
        """Let the file go; it stays where something waits in it."""
        if self._flushing is not None:
            await asyncio.wait((self._flushing,))
        self._spool.close(remove=True)


def _read(spool: Spool, start: int) -> tuple[list[Operation], int]:
    """Some operations from a byte on, and where the next ones start."""
    operations: list[Operation] = []
    for entry in spool.read(start):
        try:
            operations.append(operation_of(entry.payload))
        except MsgspecError as error:
            _log.error("spool_entry_unreadable", file=str(spool.path), reason=str(error))
        start = entry.end
        if len(operations) >= _READ_AT_ONCE:
            break
    if spool.damaged:
        _log.error("spool_damaged", file=str(spool.path), bytes=spool.damaged)
    return operations, start
