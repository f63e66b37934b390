"""The queue before the writer: bounded in length and in time, and never a hold that nobody knows of."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold
from proxy.ledger.base import Answer, Lose, Operation, Release, Reserve, Settle
from proxy.ledger.gathering import Busy, Gathering
from tests.ledger.samples import request, settlement

TIMEOUT_S = 0.1
PassTime = Callable[[float], Awaitable[None]]


class Writer:
    """Keeps batches until the test answers them."""

    def __init__(self, **options: Any) -> None:
        self.batches: list[list[Operation]] = []
        chosen: dict[str, Any] = {"limit": 100, "timeout_s": TIMEOUT_S} | options
        self.gathering = Gathering(self.batches.append, **chosen)

    async def next(self) -> list[Operation]:
        """The batch that was taken."""
        async with asyncio.timeout(5):
            while not self.batches:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0)
        return self.batches[0]

    def answer(self) -> None:
        """Give every hold that was asked for."""
        batch = self.batches.pop(0)
        answers: list[Answer] = [
            Hold(o.request.record.id, o.request.amount_nano, ()) if isinstance(o, Reserve) else None
            for o in batch
        ]
        self.gathering.answer(batch, answers)

    def fail(self, *, doubtful: bool) -> None:
        """Let the transaction fail."""
        self.gathering.fail(self.batches.pop(0), LedgerError("gone"), doubtful=doubtful)


def ask(writer: Writer, operation: Operation) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(writer.gathering.ask(operation))


async def test_what_comes_while_a_batch_is_written_is_the_next_batch() -> None:
    """One transaction at a time, in the order of arrival."""
    writer = Writer()
    first = [ask(writer, Reserve(request(n))) for n in range(3)]
    batch = await writer.next()
    second = ask(writer, Reserve(request(9)))
    await asyncio.sleep(0)

    assert [o.request.amount_nano for o in batch if isinstance(o, Reserve)] == [0, 1, 2]
    assert len(writer.batches) == 1
    writer.answer()
    assert [hold.amount_nano for hold in await asyncio.gather(*first)] == [0, 1, 2]
    await writer.next()
    writer.answer()
    assert (await second).amount_nano == 9
    await writer.gathering.quiet()


async def test_what_no_call_waits_for_may_take_longer_than_a_call() -> None:
    """A sweep, and what a spool has kept: a busy database is not away. Both are bounded."""
    writer = Writer(timeout_s=0.05, patience_s=0.4)
    loop = asyncio.get_running_loop()
    ended: list[str] = []

    async def note(name: str, operation: Operation) -> None:
        with pytest.raises(LedgerError, match="did not answer in"):
            await writer.gathering.ask(operation)
        ended.append(name)

    replayed = settlement(request(5), 1)
    tasks = [
        loop.create_task(note("swept", Lose("a call"))),
        loop.create_task(note("replayed", Settle(replayed, patient=True))),
        loop.create_task(note("called", Reserve(request(5)))),
        loop.create_task(note("settled", Settle(settlement(request(6), 1)))),
    ]
    await asyncio.gather(*tasks)

    assert sorted(ended[:2]) == ["called", "settled"]
    assert sorted(ended[2:]) == ["replayed", "swept"]


async def test_a_settlement_waits_for_company_but_not_for_long(pass_time: PassTime) -> None:
    """A hold that comes meanwhile takes it along at once; else it goes alone."""
    writer = Writer(linger_s=30.0, timeout_s=100)
    asked = request(5)
    settled = ask(writer, Settle(settlement(asked, 1)))
    await asyncio.sleep(0)
    await pass_time(20)
    assert writer.batches == []

    held = ask(writer, Reserve(request(7)))
    assert len(await writer.next()) == 2
    writer.answer()
    await asyncio.gather(settled, held)

    writer = Writer(linger_s=30.0, timeout_s=100)
    settled = ask(writer, Settle(settlement(asked, 1)))
    await asyncio.sleep(0)
    await pass_time(30)
    assert [len(batch) for batch in writer.batches] == [1]
    writer.answer()
    await settled


async def test_a_settlement_does_not_wait_where_somebody_wants_its_room(
    pass_time: PassTime,
) -> None:
    """Nor where the ledger is to be closed."""
    writer = Writer(linger_s=30.0, hurry=lambda: True)
    ask(writer, Settle(settlement(request(5), 1)))
    await writer.next()

    writer = Writer(linger_s=30.0, timeout_s=100)
    ask(writer, Settle(settlement(request(5), 1)))
    await asyncio.sleep(0)
    await pass_time(20)
    assert writer.batches == []
    quiet = asyncio.ensure_future(writer.gathering.quiet())
    await writer.next()
    writer.answer()
    await quiet


async def test_a_full_queue_refuses_one_more() -> None:
    """Bounded in length."""
    writer = Writer(limit=3)
    waiting = [ask(writer, Reserve(request(n))) for n in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await writer.gathering.ask(Reserve(request(9)))

    await writer.next()
    writer.answer()
    await asyncio.gather(*waiting)


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> PassTime:
    """Lets so many seconds of the loop's clock pass, in no time."""
    loop = asyncio.get_running_loop()
    clock, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + passed)

    async def passing(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    return passing


async def test_who_stands_behind_others_is_not_late(pass_time: PassTime) -> None:
    """A thousand calls at once take many transactions: each is in time, and so the database answers."""
    writer = Writer(timeout_s=10, batch_limit=1)
    waiting = [ask(writer, Reserve(request(n))) for n in range(5)]
    for _ in waiting:
        await writer.next()
        for _ in range(6):
            await pass_time(1)
        writer.answer()

    assert [hold.amount_nano for hold in await asyncio.gather(*waiting)] == [0, 1, 2, 3, 4]


async def test_as_many_go_together_as_the_database_is_quick_for(pass_time: PassTime) -> None:
    """A thousand in one transaction would be late on a busy machine, each of them, and told so."""
    writer = Writer(timeout_s=8, limit=10_000)
    calls = [ask(writer, Release(str(n))) for n in range(1280)]
    sizes = []
    for seconds in (0, 0, 2, 3, 7, 0, 0, 0):
        sizes.append(len(await writer.next()))
        for _ in range(seconds):
            await pass_time(1)
        writer.answer()
    await asyncio.gather(*calls)

    assert sizes == [64, 128, 256, 256, 128, 64, 128, 256]


async def test_there_are_never_fewer_than_a_few_nor_more_than_wanted(pass_time: PassTime) -> None:
    """However slow or quick it is."""
    writer = Writer(timeout_s=8, limit=10_000, batch_limit=100)
    calls = [ask(writer, Release(str(n))) for n in range(600)]
    sizes = []
    for seconds in (4, 4, 4, 4, 0, 0, 0, 0, 0):
        sizes.append(len(await writer.next()))
        for _ in range(seconds):
            await pass_time(1)
        writer.answer()
    for call in calls:
        call.cancel()

    assert sizes == [64, 32, 16, 16, 16, 32, 64, 100, 100]


async def test_who_stands_behind_others_does_not_wait_for_ever(pass_time: PassTime) -> None:
    """The database is not away: what is refused is this call, and nothing else is concluded."""
    writer = Writer(timeout_s=10, patience_s=30, batch_limit=1)
    waiting = [ask(writer, Reserve(request(n))) for n in range(7)]
    while not waiting[-1].done():
        await writer.next()
        for _ in range(8):
            await pass_time(1)
        writer.answer()

    *_, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (type(last), str(last)) == (Busy, "the ledger answers, but not within 40 s")


async def test_a_late_answer_is_an_error_in_time_and_its_hold_is_released() -> None:
    """Bounded in time; what the database did all the same is undone."""
    writer = Writer()
    asked = request(5)
    late = ask(writer, Reserve(asked))
    await writer.next()
    queued = ask(writer, Reserve(request(6)))

    for waiting in (late, queued):
        with pytest.raises(LedgerError, match="did not answer"):
            await waiting
    writer.answer()

    batch = await writer.next()
    assert [type(o) for o in batch] == [Release]
    assert isinstance(batch[0], Release)
    assert batch[0].call_id == asked.record.id


async def test_a_hold_that_may_have_been_written_is_released_until_it_is() -> None:
    """The connection broke in the commit: a release goes with every transaction until one succeeds."""
    writer = Writer()
    asked = request(5)
    doubtful = ask(writer, Reserve(asked))
    await writer.next()
    writer.fail(doubtful=True)
    with pytest.raises(LedgerError):
        await doubtful

    for _ in range(2):
        beside = ask(writer, Reserve(request(1)))
        await writer.next()
        writer.answer()
        await beside
        batch = await writer.next()
        assert [o.call_id for o in batch if isinstance(o, Release)] == [asked.record.id]
        writer.fail(doubtful=False)
    beside = ask(writer, Reserve(request(1)))
    await writer.next()
    writer.answer()
    await beside
    await writer.next()
    writer.answer()
    await writer.gathering.quiet()
    assert writer.batches == []


async def test_a_hold_that_its_caller_keeps_is_not_released() -> None:
    """The call went on without the database's answer."""
    writer = Writer()
    operation = Reserve(request(5))
    doubtful = ask(writer, operation)
    await writer.next()
    writer.fail(doubtful=True)
    with pytest.raises(LedgerError):
        await doubtful
    writer.gathering.keep(operation)

    beside = ask(writer, Reserve(request(1)))
    await writer.next()
    writer.answer()
    await beside
    await writer.gathering.quiet()
    assert writer.batches == []


async def test_a_caller_that_leaves_just_when_its_answer_comes() -> None:
    """The answer is there, the caller is cancelled before it sees it: the hold is released."""
    writer = Writer()
    asked = request(5)
    leaving = ask(writer, Reserve(asked))
    await writer.next()
    writer.answer()
    leaving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await leaving
    batch = await writer.next()
    assert [o.call_id for o in batch if isinstance(o, Release)] == [asked.record.id]


async def test_a_caller_that_left_is_left_out_but_its_settlement_is_done() -> None:
    """A hold that nobody wants costs nothing; money that was spent is written whoever asks."""
    writer = Writer()
    blocking = ask(writer, Reserve(request(1)))
    await writer.next()
    hold, end = request(5), settlement(request(6), 1)
    tasks = [ask(writer, Reserve(hold)), ask(writer, Settle(end))]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    writer.answer()
    await blocking

    batch = await writer.next()

    assert [type(o) for o in batch] == [Settle]


async def test_closing_fails_what_waits() -> None:
    """Nobody is left hanging."""
    writer = Writer()
    waiting = ask(writer, Reserve(request(1)))
    await writer.next()
    queued = ask(writer, Reserve(request(2)))
    await asyncio.sleep(0)

    writer.gathering.stop()

    with pytest.raises(LedgerError, match="closed"):
        await queued
    with pytest.raises(LedgerError, match="closed"):
        await writer.gathering.ask(Reserve(request(3)))
    writer.answer()
    await waiting


async def test_a_process_that_stood_still_hears_first_what_the_database_said() -> None:
    """It was not the database that was late: an answer that is there when it wakes up counts."""
    writer = Writer()
    asked = ask(writer, Reserve(request(5)))
    await writer.next()
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: _stand_still(3 * TIMEOUT_S))
    loop.call_later(TIMEOUT_S, writer.answer)  # as late as everything else is

    assert isinstance(await asked, Hold)


async def test_a_process_that_stands_still_again_and_again_does_not_keep_its_callers() -> None:
    """One more look is granted; from then on the time-out counts, whoever was late."""
    writer = Writer()
    asked = ask(writer, Reserve(request(5)))
    await writer.next()
    loop = asyncio.get_running_loop()
    stalls = 0

    def stall() -> None:
        nonlocal stalls
        stalls += 1
        _stand_still(2 * TIMEOUT_S)
        if not asked.done() and stalls < 20:
            loop.call_soon(stall)

    loop.call_soon(stall)

    with pytest.raises(LedgerError, match="did not answer"):
        await asked
    assert stalls < 20
    writer.answer()


def _stand_still(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
