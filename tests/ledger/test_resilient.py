"""A database that goes away and comes back: nothing hangs, nothing is lost, nothing counts twice."""

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.budgets import Refused
from proxy.core.call import Outcome
from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold
from proxy.ledger.base import LedgerOptions, now_us
from proxy.ledger.postgres import PostgresLedger
from proxy.ledger.resilient import SPOOL_LIMIT_BYTES, ResilientLedger
from proxy.ledger.spooled import settle_entry
from proxy.ledger.sqlite import SqliteLedger
from proxy.store import migrate
from proxy.store.engine import Database
from tests.ledger.homes import Clock
from tests.ledger.samples import DAY_US, budget, pending, refusal, request, settlement
from tests.postgres import PostgresServer, new_server

ANSWERS_WITHIN_S = 0.3


class Sqlite:
    """A file that goes away by being locked."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/farebox.db"
        self._file = folder / "farebox.db"
        self._lock: sqlite3.Connection | None = None

    def go_away(self) -> None:
        """Lock it."""
        self._lock = sqlite3.connect(self._file, isolation_level=None)
        self._lock.execute("BEGIN IMMEDIATE")

    def come_back(self) -> None:
        """Unlock it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Stopped:
    """A PostgreSQL that is killed."""

    def __init__(self, server: PostgresServer) -> None:
        self.url = f"{server.url}/postgres"
        self._server = server

    def go_away(self) -> None:
        """Kill it."""
        self._server.stop(signal.SIGQUIT)

    def come_back(self) -> None:
        """Start it again."""
        if self._server.process is None:
            self._server.start()


class Paused(Stopped):
    """A PostgreSQL that takes connections and says nothing."""

    def go_away(self) -> None:
        """Let it stand still."""
        self._server.pause()

    def come_back(self) -> None:
        """Let it go on."""
        self._server.resume()


Place = Sqlite | Stopped | Paused


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, since it is not treated well."""
    server = new_server()
    yield server
    server.stop()
    shutil.rmtree(server.base)


@pytest.fixture(params=["sqlite", "stopped", "paused"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A migrated database that can go away."""
    found: Place
    if request.param == "sqlite":
        found = Sqlite(tmp_path)
    else:
        server = request.getfixturevalue("server")
        found = Stopped(server) if request.param == "stopped" else Paused(server)
    database = Database(found.url)
    if request.param != "sqlite":
        await migrate.downgrade(database, "base")
    await migrate.upgrade(database)
    await database.close()
    yield found
    found.come_back()


class Process:
    """A resilient ledger as it runs in a process, that can end without saying goodbye."""

    def __init__(
        self,
        place: Place,
        folder: Path,
        unavailable: str,
        *,
        limit_bytes: int = SPOOL_LIMIT_BYTES,
        **options: Any,
    ) -> None:
        self.database = Database(place.url)
        chosen = LedgerOptions(clock_us=Clock(), answer_timeout_s=ANSWERS_WITHIN_S, **options)
        kind = SqliteLedger if self.database.is_sqlite else PostgresLedger
        self.inner = kind(self.database, chosen)
        self.ledger = ResilientLedger(
            self.inner, folder / "spool", unavailable=unavailable, limit_bytes=limit_bytes
        )

    async def __aenter__(self) -> ResilientLedger:
        await self.ledger.start()
        await self.ledger.sync_budgets([budget(10_000)])
        return self.ledger

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.stop()
        await self.database.close()


async def back(ledger: ResilientLedger) -> None:
    """Wait until the database is back and has everything."""
    async with asyncio.timeout(20):
        while not ledger.stats.available or ledger.stats.spool_rows:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0.02)


async def spent_and_held(ledger: Any) -> tuple[int, int]:
    (view,) = await ledger.budgets()
    return view.windows[0].spent_nano, view.windows[0].held_nano


async def test_reject_says_so_at_once_and_keeps_what_was_spent(
    place: Place, tmp_path: Path
) -> None:
    """Who asks first waits so long as a call may, the next ones not at all; calls under way are spooled."""
    async with Process(place, tmp_path, "reject") as ledger:
        under_way = [request(100) for _ in range(5)]
        holds = [await ledger.reserve(asked) for asked in under_way]
        place.go_away()

        first = await asyncio.gather(
            *(ledger.reserve(request(100)) for _ in range(20)), return_exceptions=True
        )
        assert {type(answer) for answer in first} == {LedgerError}
        for _ in range(20):
            with pytest.raises(LedgerError):
                ledger.reserve(request(100)).send(None)  # without once waiting for anything
        for asked, hold in zip(under_way, holds, strict=True):
            assert isinstance(hold, Hold)
            await ledger.settle(settlement(asked, 60, hold))
        assert ledger.stats.spool_rows == 5
        assert not ledger.stats.available

        place.come_back()
        await back(ledger)
        await ledger.reserve(request(0))
        assert await spent_and_held(ledger) == (300, 0)
        assert await ledger.verify() == []


async def test_allow_goes_on_within_the_budget_as_it_was_known(
    place: Place, tmp_path: Path
) -> None:
    """Holds in memory against the last windows; afterwards the ledger has every call."""
    async with Process(place, tmp_path, "allow") as ledger:
        before = request(4_000)
        hold = await ledger.reserve(before)
        assert isinstance(hold, Hold)
        assert not hold.provisional
        place.go_away()

        calls = [request(1_000) for _ in range(8)]
        answers = [await ledger.reserve(asked) for asked in calls]
        taken = [(c, a) for c, a in zip(calls, answers, strict=True) if isinstance(a, Hold)]
        assert [a.provisional for _, a in taken] == [True] * 6
        assert [type(a) for a in answers[6:]] == [Refused, Refused]
        await ledger.settle(settlement(before, 500, hold))
        assert isinstance(await ledger.reserve(request(3_500)), Hold)
        for asked, answer in taken[:4]:
            await ledger.settle(settlement(asked, 700, answer))

        place.come_back()
        await back(ledger)
        assert await spent_and_held(ledger) == (500 + 4 * 700, 2_000 + 3_500)
        assert await ledger.verify() == []
        for asked, answer in taken[4:]:
            await ledger.settle(settlement(asked, 100, answer))
        assert await ledger.verify() == []


async def test_a_crash_while_the_database_is_away_loses_no_call(
    place: Place, tmp_path: Path
) -> None:
    """The next process finds the spool: what was settled counts, what was under way is lost."""
    crashed = Process(place, tmp_path, "allow")
    ledger = await crashed.__aenter__()
    place.go_away()
    settled, open_call = request(1_000), request(1_000, estimate_nano=40)
    hold = await ledger.reserve(settled)
    assert isinstance(hold, Hold)
    await ledger.settle(settlement(settled, 700, hold))
    second = await ledger.reserve(open_call)
    assert isinstance(second, Hold)
    further = replace(open_call.record, attempts=(pending(1, error="connect"), pending(2)))
    await ledger.attempt(second, further)
    await abandon(crashed)
    place.come_back()

    async with Process(place, tmp_path, "allow") as heir:
        assert await heir.sweep(now_us() + DAY_US) == 1
        found = await heir.call(open_call.record.id)
        assert found is not None
        assert (found.outcome, found.cost_nano) == (Outcome.LOST, 40)
        assert [a.number for a in found.attempts] == [1, 2]
        assert await spent_and_held(heir) == (740, 0)
        assert await heir.verify() == []
    assert list((tmp_path / "spool").iterdir()) == []


async def abandon(process: Process) -> None:
    """End a process as kill -9 does, as far as files and locks go: nothing is written any more."""
    ledger: Any = process.ledger
    for task in (ledger._recovery, ledger._inner._care):
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
    ledger._spooler._spool.close()
    ledger._inner._gathering.stop()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.database.close)
        stack.push_async_callback(ledger._inner._close)


async def test_a_settlement_that_is_replayed_twice_counts_once(
    place: Place, tmp_path: Path
) -> None:
    """A crash between the replay and the end of the file does no harm."""
    async with Process(place, tmp_path, "reject") as ledger:
        asked = request(100)
        hold = await ledger.reserve(asked)
        assert isinstance(hold, Hold)
        place.go_away()
        await ledger.settle(settlement(asked, 60, hold))
        (file,) = (tmp_path / "spool").iterdir()
        shutil.copy(file, tmp_path / "copy")
        place.come_back()
        await back(ledger)
    (tmp_path / "spool").mkdir(exist_ok=True)
    shutil.copy(tmp_path / "copy", tmp_path / "spool" / "again.spool")

    async with Process(place, tmp_path, "reject") as ledger:
        assert await spent_and_held(ledger) == (60, 0)
        assert await ledger.verify() == []


async def test_what_stop_can_not_write_is_there_after_the_restart(
    place: Place, tmp_path: Path
) -> None:
    """A process that is stopped while the database is away leaves its spool behind."""
    process = Process(place, tmp_path, "reject")
    ledger = await process.__aenter__()
    asked = request(100)
    hold = await ledger.reserve(asked)
    assert isinstance(hold, Hold)
    place.go_away()
    await ledger.settle(settlement(asked, 60, hold))
    await process.__aexit__()
    place.come_back()

    async with Process(place, tmp_path, "reject") as ledger:
        assert await spent_and_held(ledger) == (60, 0)


async def test_a_start_that_came_too_early_can_be_made_again(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Until then calls are refused, with ``allow`` too; what was left behind is there after it."""
    place = Paused(server)
    database = Database(place.url)
    await migrate.downgrade(database, "base")
    await migrate.upgrade(database)
    await database.close()
    asked = request(100)
    async with Process(place, tmp_path, "allow") as before:
        hold = await before.reserve(asked)
        assert isinstance(hold, Hold)
        place.go_away()
        await before.settle(settlement(asked, 60, hold))
    early = Process(place, tmp_path, "allow")
    with pytest.raises(LedgerError):
        await early.ledger.start()
    with pytest.raises(LedgerError, match="away"):
        await early.ledger.reserve(request(1))

    place.come_back()
    async with early as ledger:
        assert await spent_and_held(ledger) == (60, 0)
        assert isinstance(await ledger.reserve(request(1)), Hold)


# The spool is full as well


async def test_a_full_spool_refuses_new_calls_and_loses_none_under_way(
    place: Place, tmp_path: Path
) -> None:
    """A hold that can't be kept refuses its call; a settlement waits in memory until one takes it."""
    async with Process(place, tmp_path, "allow", limit_bytes=0) as ledger:
        asked = request(100)
        hold = await ledger.reserve(asked)
        assert isinstance(hold, Hold)
        place.go_away()

        with pytest.raises(LedgerError, match="spool"):
            await ledger.reserve(request(100))
        further = replace(asked.record, attempts=(pending(1, error="connect"), pending(2)))
        await ledger.attempt(hold, further)
        settling = asyncio.create_task(ledger.settle(settlement(asked, 60, hold)))
        await ledger.settle(refusal())
        while not ledger.stats.unwritten:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0)
        stats = ledger.stats
        assert (stats.attempts_unnoted, stats.refusals_dropped, stats.unwritten) == (1, 1, 1)

        place.come_back()
        await back(ledger)
        await settling
        assert await spent_and_held(ledger) == (60, 0)
        assert ledger.stats.unwritten == 0
        assert await ledger.verify() == []


async def test_refusals_leave_half_of_the_spool_to_settlements(
    place: Place, tmp_path: Path
) -> None:
    """They cost nothing, and can be as many as clients like to send."""
    entry = len(settle_entry(refusal())) + 12  # and its frame
    async with Process(place, tmp_path, "reject", limit_bytes=8 * entry) as ledger:
        asked = request(100)
        hold = await ledger.reserve(asked)
        assert isinstance(hold, Hold)
        place.go_away()

        for _ in range(20):
            await ledger.settle(refusal())
        await ledger.settle(settlement(asked, 60, hold))

        assert (ledger.stats.spool_rows, ledger.stats.refusals_dropped) == (5, 16)
        place.come_back()
        await back(ledger)
        assert await spent_and_held(ledger) == (60, 0)


async def test_what_no_one_takes_until_the_end_is_told_and_lost_by_policy(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that stops with neither database nor spool: the hold stays for a sweep."""
    process = Process(place, tmp_path, "reject", limit_bytes=0)
    ledger = await process.__aenter__()
    asked = request(100, estimate_nano=40)
    hold = await ledger.reserve(asked)
    assert isinstance(hold, Hold)
    place.go_away()
    settling = asyncio.create_task(ledger.settle(settlement(asked, 60, hold)))
    while not ledger.stats.unwritten:  # noqa: ASYNC110 - from outside
        await asyncio.sleep(0)
    await process.__aexit__()
    await settling
    place.come_back()

    assert asked.record.id in capsys.readouterr().out
    async with Process(place, tmp_path, "reject") as heir:
        await heir.sweep(now_us() + DAY_US)
        assert await spent_and_held(heir) == (40, 0)
