"""A process that starts before its database does: it answers, is not ready, and goes on asking.

Closed on purpose, whatever ``ledger.unavailable`` says: until the database has answered once, this
process knows no key, no budget and no total, so that every call is refused as ``ledger_unavailable``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from proxy.core.errors import FareboxError
from proxy.store.engine import DatabaseAway

Step = Callable[[], Awaitable[object]]
_LISTENS_AFTER_S = 10.0  # of asking: a probe waits no longer for its first answer
_BACK_OFF_S = (0.2, 2.0)  # first and longest pause between two questions

_log = structlog.get_logger("farebox.database")


class Opening:
    """The steps that need the database: each done once, in order, as soon as it is there."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._waits = asyncio.Event()  # set where it is known to take longer
        self._task: asyncio.Task[None] | None = None
        self.reason = "it has not answered yet"  # why it is not open; "" where it is

    async def begin(self) -> None:
        """Return when all is open, or the database is away: then it is opened when it is there.

        Raises what is wrong where no waiting helps: a password, a name, a table of somebody else's.
        """
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(self._open())
        waits = loop.create_task(self._waits.wait())
        await asyncio.wait(
            (task, waits), timeout=_LISTENS_AFTER_S, return_when=asyncio.FIRST_COMPLETED
        )
        waits.cancel()
        if task.done():
            task.result()
        else:
            self._waits.set()

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            # What it failed with was told: by ``begin``, or in the log.
            with suppress(asyncio.CancelledError, FareboxError):
                await self._task

    async def _open(self) -> None:
        pause_s, longest_s = _BACK_OFF_S
        while self._steps:
            try:
                await self._steps[0]()
            except DatabaseAway as error:
                _log.warning("database_awaited", problem=str(error))
                self.reason = str(error)
                self._waits.set()
            except FareboxError as error:
                if not self._waits.is_set():
                    raise
                # It serves already: somebody may put it right, and it goes on by itself.
                _log.error("database_not_opened", problem=str(error))
                self.reason = str(error)
            else:
                del self._steps[0]
                pause_s = _BACK_OFF_S[0]
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        self.reason = ""
        if self._waits.is_set():
            _log.warning("database_opened")
