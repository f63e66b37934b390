"""The ledger on a SQLite file.

A batch is written where it is, on the event loop, and kept so small that it takes a millisecond at
most: a thread would have to be given the interpreter anew for each of its steps, which costs more
processor time, and up to 5 ms of waiting each where the loop is busy. What may wait for something
else goes to a thread: for the disk (``durability: full``, and the copying of the log back into the
file), or for another process that is writing.
"""

import asyncio
import contextlib
import os
import threading
from queue import SimpleQueue

from proxy.core.budgets import WindowKey
from proxy.core.call import Principal
from proxy.core.errors import LedgerError
from proxy.ledger.base import Operation, Written
from proxy.ledger.cover import Cover
from proxy.ledger.database_ledger import DatabaseLedger
from proxy.ledger.gathering import BATCH_LIMIT
from proxy.ledger.sqlite_writer import Occupied, SqliteWriter

WRITTEN_HERE = 64  # operations in a batch
_COPY_AFTER = 8_000  # pages of the log, about
_LEISURELY = 10  # of 19
_PAGES_A_TRANSACTION = 8  # and one for each operation, about


class SqliteLedger(DatabaseLedger):
    """For one machine: any number of processes on one file."""

    _writer: SqliteWriter
    _thread: threading.Thread
    _inbox: SimpleQueue[list[Operation] | None]
    _copying: threading.Thread | None = None
    _pages = 0

    def _batch_limit(self) -> int:
        return BATCH_LIMIT if self._waits_for_disk else WRITTEN_HERE

    @property
    def _waits_for_disk(self) -> bool:
        return self.options.durability == "full"

    async def _open(self) -> None:
        self._writer = await asyncio.to_thread(SqliteWriter, self.database, self.options)
        self._inbox = SimpleQueue()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="farebox-ledger")
        self._thread.start()

    async def _close(self) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._copying is not None:
            await asyncio.to_thread(self._copying.join)
        self._writer.close()

    def cover(self, principal: Principal, model: str, at_us: int) -> Cover:
        """The windows of a call, by the budgets as this process last saw them."""
        return self._writer.covers.of(principal, model, at_us)

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when this process last saw it, in nano-dollars."""
        return self._writer.known(key)

    def _dispatch(self, batch: list[Operation]) -> None:
        self._pages += _PAGES_A_TRANSACTION + len(batch)
        if self._pages >= _COPY_AFTER:
            self._copy_log()
        if not self._waits_for_disk:
            try:
                self._done(batch, self._writer.write(batch, patience_s=0))
            except Occupied:
                pass
            except LedgerError as error:
                self._done(batch, error)
                return
            else:
                return
        self._inbox.put(batch)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := self._inbox.get()) is not None:
            written: Written | LedgerError
            try:
                written = self._writer.write(batch)
            except LedgerError as error:
                written = error
            loop.call_soon_threadsafe(self._done, batch, written)

    def _copy_log(self) -> None:
        if self._copying is None or not self._copying.is_alive():
            self._pages = 0
            self._copying = threading.Thread(target=self._copy, name="farebox-ledger-copy")
            self._copying.start()

    def _copy(self) -> None:
        # Where there is one processor for all, calls come first: of Linux's threads each has a priority.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEISURELY)
        self._writer.copy_log()
