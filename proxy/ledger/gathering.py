"""Where callers wait while the one writer of this process gathers what has come into a transaction.

Bounded in length and in time: where the queue is full or an answer is late, the caller gets a
LedgerError, never a hang. Late is who has waited long where the transaction under way takes long: a
burst that stands behind others, or keeps this process busy, says nothing of the database, and is waited
for. What no call waits for may take longer: a busy database is not away. An answer that comes after its
caller has gone is put right: a hold that nobody knows of is released.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold
from proxy.ledger.base import PATIENCE_S, Answer, Operation, Release, Reserve, Settle

BATCH_LIMIT = 512  # operations in one transaction, where the ledger does not want fewer
_AT_FIRST = 64  # operations, until it is known how quick the database is
_FEWEST = 16  # however slow it is
_QUICK, _SLOW = (
    1 / 8,
    1 / 3,
)  # parts of a time-out that a transaction took: then more, or fewer, fit
_CHECKS_A_TIMEOUT = 8  # how often in a time-out its end is looked for
_STOOD_STILL = 0.5  # of a time-out: who looks so much too late did not run itself


class Busy(LedgerError):
    """More operations wait than the ledger takes, or one waits for too long though it answers."""


class Gathering:
    """The queue before the writer.

    ``dispatch`` gets a batch, and leads to ``answer`` or ``fail``; what comes meanwhile is the next.
    """

    def __init__(
        self,
        dispatch: Callable[[list[Operation]], None],
        *,
        limit: int,
        timeout_s: float,
        patience_s: float = PATIENCE_S,
        batch_limit: int = BATCH_LIMIT,
        linger_s: float = 0.0,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._dispatch = dispatch
        self._linger_s = linger_s
        self._hurry = hurry
        self._lingering: asyncio.TimerHandle | None = None
        self._limit = limit
        self._fewest = min(_FEWEST, batch_limit)
        self._batch_limit = batch_limit
        self._fits = min(_AT_FIRST, batch_limit)  # into a transaction that is in time
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Operation] = deque()
        self._taken: Sequence[Operation] = ()
        self._taken_at = 0.0  # in the loop's time
        self._owed: dict[str, Release] = {}  # holds that nobody knows of, by call id
        self._going = False  # a batch is being written, or about to be taken
        self._watch: asyncio.TimerHandle | None = None
        self._looks_again = False
        self._look_at = 0.0  # when the watch is due, in the loop's time
        self._quiet = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return len(self._queue)

    # The callers' side

    async def ask(self, operation: Operation) -> Any:
        """Have an operation done, in the next batch. Raises LedgerError, also where no more can wait."""
        answer = self.post(operation)
        try:
            return await answer
        except asyncio.CancelledError:
            self.forsake(operation)
            raise

    def post(self, operation: Operation) -> asyncio.Future[Any]:
        """The same, without waiting: the future has the answer, or raises. Raises at once likewise."""
        if self.closed:
            raise LedgerError("the ledger is closed")
        if len(self._queue) >= self._limit:
            raise Busy(f"{self._limit} operations wait for the ledger already")
        patience_s = self._patience_s if operation.patient else self._timeout_s
        operation.until = self._loop.time() + patience_s
        answer = operation.answer = self._loop.create_future()
        self._add(operation)
        return answer

    def forsake(self, operation: Operation) -> None:
        """Who waited for it was cancelled: what it may have held just then is given back."""
        answer = operation.answer
        if answer is None or answer.cancelled() or not answer.done():
            return
        if isinstance(_result(answer), Hold):
            self.abandon(operation)

    def _add(self, operation: Operation) -> None:
        self._queue.append(operation)
        if self._watch is None:
            self._look_in(self._timeout_s)
        if not self._going:
            self._going = True
            if self._linger_s and isinstance(operation, Settle) and not self._hurry():
                # Its client has its answer already: the next call's hold may share the transaction.
                self._lingering = self._loop.call_later(self._linger_s, self._go)
            else:
                # Not at once: what else comes in this turn of the loop belongs to the batch.
                self._loop.call_soon(self._go)
        elif self._lingering is not None and not isinstance(operation, Settle):
            self._go_on()

    def _go_on(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
            self._loop.call_soon(self._go)

    async def quiet(self) -> None:
        """Return when nothing is waiting any more."""
        self._go_on()
        while self._going:
            self._quiet.clear()
            await self._quiet.wait()

    def stop(self) -> None:
        """Take no more operations, and fail those that wait."""
        self.closed = True
        for operation in self._queue:
            _refuse(operation, LedgerError("the ledger is closed"))
        self._queue.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # The writer's side

    def _go(self) -> None:
        self._lingering = None
        batch = self._taken = self._take()
        if batch:
            self._taken_at = self._loop.time()
            self._dispatch(batch)
        else:
            self._going = False
            self._quiet.set()

    def _take(self) -> list[Operation]:
        # A caller that gave up on a hold is left out; a settlement is done, whoever waits for it.
        batch: list[Operation] = []
        queue = self._queue
        while queue and len(batch) < self._fits:
            operation = queue.popleft()
            gone = operation.answer is not None and operation.answer.done()
            if not (gone and isinstance(operation, Reserve)):
                batch.append(operation)
        return batch

    def answer(self, batch: Sequence[Operation], answers: Sequence[Answer]) -> None:
        """Tell the callers what became of their operations, and go on with the next batch."""
        self._learn_what_fits()
        self._taken = ()
        for operation, answer in zip(batch, answers, strict=True):
            future = operation.answer
            if future is None or future.done():
                if isinstance(answer, Hold) and isinstance(operation, Reserve):
                    self._owe(operation)
                elif isinstance(operation, Release):
                    self._owed.pop(operation.call_id, None)
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if self._owed:
            self._queue.extend(r for r in self._owed.values() if r not in self._queue)
        self._loop.call_soon(self._go)

    def _learn_what_fits(self) -> None:
        """A transaction of many may take longer than a call waits, where the machine is busy."""
        part = (self._loop.time() - self._taken_at) / self._timeout_s
        if part > _SLOW:
            self._fits = max(self._fits // 2, self._fewest)
        elif part < _QUICK and len(self._taken) >= self._fits:
            self._fits = min(self._fits * 2, self._batch_limit)

    def fail(self, batch: Sequence[Operation], error: LedgerError, *, doubtful: bool) -> None:
        """The transaction failed. If it may be written all the same, its holds are given back later."""
        self._taken = ()
        for operation in batch:
            _refuse(operation, error)
            if doubtful and isinstance(operation, Reserve):
                self._owe(operation)
        self._loop.call_soon(self._go)

    # Holds that nobody knows of

    def _owe(self, operation: Reserve) -> None:
        # Owed until a transaction has it: the next one may fail as well.
        if not operation.kept and not operation.forced:
            call_id = operation.request.record.id
            self._owed[call_id] = Release(call_id)

    def abandon(self, operation: Operation) -> None:
        """The caller was cancelled just when the answer had come."""
        if isinstance(operation, Reserve):
            self._owe(operation)
            release = self._owed.get(operation.request.record.id)
            if release is not None:
                self._add(release)

    def keep(self, operation: Reserve) -> None:
        """Do not give back what the operation may have held: its call goes on all the same."""
        operation.kept = True
        release = self._owed.pop(operation.request.record.id, None)
        if release is not None and release in self._queue:
            self._queue.remove(release)

    def let_go(self, operation: Reserve) -> None:
        """Give it back after all: its call does not go on."""
        operation.kept = False
        self.abandon(operation)

    # Late answers

    def _look_in(self, seconds: float) -> None:
        self._look_at = self._loop.time() + seconds
        self._watch = self._loop.call_at(self._look_at, self._find_late)

    def _find_late(self) -> None:
        now = self._loop.time()
        stood_still = now - self._look_at > _STOOD_STILL * self._timeout_s
        if stood_still and not self._looks_again:
            # It was this process that stood still: what the database has said by now is read first.
            # Only once: a process that never gets its turn must not keep its callers for ever.
            self._looks_again = True
            self._look_in(self._timeout_s / _CHECKS_A_TIMEOUT)
            return
        self._looks_again = False
        # Else the database is not what they wait for.
        is_slow = bool(self._taken) and now - self._taken_at >= self._timeout_s
        waiting = False
        for operation in (*self._taken, *self._queue):
            if operation.answer is None or operation.answer.done():
                continue
            error = self._late(operation, now, is_slow=is_slow)
            if error is None:
                waiting = True
            else:
                _refuse(operation, error)
        self._watch = None
        if waiting or self._queue:
            self._look_in(self._timeout_s / _CHECKS_A_TIMEOUT)

    def _late(self, operation: Operation, now: float, *, is_slow: bool) -> LedgerError | None:
        """What an operation is told that has waited too long."""
        late_s = now - operation.until
        if late_s < 0:
            return None
        if operation.patient:
            return LedgerError(f"the database did not answer in {self._patience_s} s")
        if is_slow:
            return LedgerError(f"the database did not answer in {self._timeout_s} s")
        if late_s < self._patience_s:
            return None
        return Busy(f"the ledger answers, but not within {self._timeout_s + self._patience_s} s")


def _refuse(operation: Operation, error: LedgerError) -> None:
    if operation.answer is not None and not operation.answer.done():
        operation.answer.set_exception(_copy(error))


def _result(answer: asyncio.Future[Any]) -> object:
    return answer.result() if answer.exception() is None else None


def _copy(error: LedgerError) -> LedgerError:
    # Each caller raises its own: one exception raised in many tasks would gather all their frames.
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy


class Releases:
    """Tells those who wait for room that a hold may have been given back, here or by another process."""

    FIRST_S = 0.02
    LONGEST_S = 0.1

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._interval_s = self.FIRST_S

    async def wait(self, timeout_s: float) -> None:
        """Return when something was given back, when it is time to look again, or the time is up."""
        if timeout_s <= 0:
            return
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.add(future)
        if self._timer is None:
            self._interval_s = self.FIRST_S
            self._timer = loop.call_later(self._interval_s, self._look_again, loop)
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            self._waiting.discard(future)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def wake(self) -> None:
        """Something was given back."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._waiting:
            self._timer = None
            return
        self.wake()
        self._interval_s = min(2 * self._interval_s, self.LONGEST_S)
        self._timer = loop.call_later(self._interval_s, self._look_again, loop)
