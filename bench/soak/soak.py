"""One run from start to end."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bench.programs import free_port
from bench.soak import config, watch
from bench.soak.config import Place
from bench.soak.faults import Chaos, Say
from bench.soak.machines import HomeDatabase, Replica, Simulator, open_database
from bench.soak.plan import Plan
from bench.soak.reckoning import Reckoning, reckon
from bench.soak.traffic import KINDS, Client, Kind, Tally
from bench.soak.watch import Watch
from proxy.core.call import Outcome as CallOutcome
from proxy.core.errors import LedgerError, LedgerUnavailable
from proxy.ledger.check_rows import verify
from proxy.ledger.spool import SUFFIX
from proxy.ledger.spooler import ASIDE
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.schema import calls, holds

_QUIET_WITHIN_S = 60.0
_SKEW_NS = 250_000_000  # between the clocks of two replicas


@dataclass(slots=True)
class Outcome:
    """What a run brought to light."""

    plan: Plan
    tally: Tally
    faults: dict[str, int]
    watch: Watch
    reckoning: Reckoning
    overruns: list[str] = field(default_factory=list)  # writes that took a window over its limit
    overdrawn: int = 0  # those that are shown as overdraft: a lost call that was dearer after all
    over_their_hold: list[str] = field(default_factory=list)  # calls that cost more than they held
    spool_left: int = 0  # bytes
    holds_left: int = 0
    books: list[str] = field(default_factory=list)  # what verify() says
    slowest_refusal_s: float = 0.0  # for want of the ledger, as Farebox itself measured it
    quiet_after_s: float = 0.0  # from the end of the load until nothing was held or spooled

    def failures(self) -> list[str]:
        """What must not be: empty where all is well."""
        found = self.reckoning
        kills = bool(self.plan.kills)  # then chance decides: nearly all of them are lost calls
        over = [] if self.plan.unavailable == "allow" else [*self.overruns, *self.watch.overruns]
        checks = {
            f"{len(found.missing)} rows missing": found.missing,
            f"{len(found.double)} rows double": found.double,
            f"{len(found.unexplained)} attempts without a line or a reason": found.unexplained,
            f"{len(found.wrong)} reported usages charged otherwise": found.wrong,
            f"counted and estimated: {found.verdict()}": found.verdict().is_wrong and not kills,
            f"{len(over)} times over a limit": over,
            f"{len(self.over_their_hold)} calls dearer than their hold": self.over_their_hold,
            f"{len(self.watch.sums_wrong)} snapshots in which held is not the sum of the holds": self.watch.sums_wrong,
            f"{self.spool_left} bytes left in the spool": self.spool_left,
            f"{self.holds_left} holds left": self.holds_left,
            f"{len(self.books)} totals that are not the sum of their rows": self.books,
            f"{len(self.tally.unexpected)} answers that nobody asked for": self.tally.unexpected,
        }
        return [what for what, bad in checks.items() if bad]


@dataclass(slots=True)
class Stage:
    """Everything that runs."""

    plan: Plan
    folder: Path
    home: HomeDatabase
    simulator: Simulator
    replicas: list[Replica]
    database: Database  # the checker's own way to it
    watch: Watch


@contextlib.asynccontextmanager
async def stage(plan: Plan, folder: Path, **changes: Any) -> AsyncIterator[Stage]:
    """Start everything, with some sections of the configuration changed; stop it at the end."""
    async with contextlib.AsyncExitStack() as stack:
        simulator = Simulator(folder)
        stack.push_async_callback(simulator.stop)
        await simulator.start()
        home = await open_database(plan.database, folder)
        stack.push_async_callback(home.close)
        database = Database(home.url)
        stack.push_async_callback(database.close)
        await migrate.upgrade(database)
        await watch.install(database)
        replicas = _replicas(plan, folder, home.url, simulator.url, **changes)
        for replica in replicas:
            stack.push_async_callback(replica.stop)
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield Stage(plan, folder, home, simulator, replicas, database, Watch(database))


def _replicas(
    plan: Plan, folder: Path, database: str, upstream: str, **changes: Any
) -> list[Replica]:
    replicas = []
    ahead_ns = plan.ahead_ns()
    for number in range(1, plan.replicas + 1):
        place = Place(folder / f"replica-{number}", free_port())
        place.folder.mkdir()
        config.write(plan, place, database, upstream, **changes)
        replicas.append(Replica(number, place, ahead_ns + number * _SKEW_NS))
    return replicas


async def soak(plan: Plan, folder: Path, say: Say, kinds: Sequence[Kind] = KINDS) -> Outcome:
    """Load and faults for the plan's time, then the books."""
    async with stage(plan, folder) as it:
        began = time.monotonic()

        def stamped(text: str) -> None:
            say(f"{time.monotonic() - began:6.1f} s  {text}")

        chaos = Chaos(plan, it.replicas, it.home, it.simulator.url, stamped)
        tally = Tally()
        async with watching(it.watch):
            await _load(it, chaos, tally, kinds)
            outcome = await settle_up(it, tally, {str(fault): n for fault, n in chaos.done.items()})
    return outcome


@contextlib.asynccontextmanager
async def watching(watch: Watch) -> AsyncIterator[None]:
    """The checker samples while the block runs. Raises what went wrong with it."""
    task = asyncio.get_running_loop().create_task(watch.forever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _load(it: Stage, chaos: Chaos, tally: Tally, kinds: Sequence[Kind]) -> None:
    stop = asyncio.Event()
    clients = [Client(it.plan, it.replicas, tally, n, kinds) for n in range(it.plan.clients)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.work(stop))
        hurting = group.create_task(chaos.work(stop))
        if it.plan.kills:
            await hurting
        else:
            await asyncio.sleep(it.plan.seconds)
        stop.set()
    await chaos.over()


async def settle_up(it: Stage, tally: Tally, faults: dict[str, int]) -> Outcome:
    """Wait until nothing is held and nothing spooled, stop the replicas, and compare the books."""
    quiet_after_s = await _quiet(it)
    await asyncio.gather(*(replica.stop() for replica in it.replicas))
    await it.watch.sample()
    over, overdrawn = await it.watch.writes_over()
    return Outcome(
        plan=it.plan,
        tally=tally,
        faults=faults,
        watch=it.watch,
        reckoning=await reckon(it.database, it.simulator.invoice),
        overruns=[str(dict(row)) for row in over],
        overdrawn=len(overdrawn),
        over_their_hold=await _over_their_hold(it.database),
        spool_left=_spooled(it.folder),
        holds_left=await _held(it.database),
        books=await it.database.run(verify, writes=False),
        slowest_refusal_s=await _slowest_refusal(it.database),
        quiet_after_s=quiet_after_s,
    )


async def _over_their_hold(database: Database) -> list[str]:
    """Every call of a soak can be bounded from its body. A lost one's row says nothing of its hold."""
    query = select(calls.c.id).where(
        calls.c.cost_nano > calls.c.held_nano, calls.c.outcome != CallOutcome.LOST
    )
    return [str(row["id"]) for row in await database.fetch(query)]


async def _slowest_refusal(database: Database) -> float:
    query = select(func.max(calls.c.duration_us).label("most")).where(
        calls.c.refusal == LedgerUnavailable.code
    )
    (row,) = await database.fetch(query)
    return int(row["most"] or 0) / 1e6


async def _quiet(it: Stage) -> float:
    began = time.monotonic()
    while time.monotonic() - began < _QUIET_WITHIN_S:
        with contextlib.suppress(LedgerError):
            if not await _held(it.database) and not _spooled(it.folder):
                break
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def _held(database: Database) -> int:
    (row,) = await database.fetch(select(func.count().label("n")).select_from(holds))
    return int(row["n"])


def _spooled(folder: Path) -> int:
    """Bytes that wait in the replicas' spools, or were set aside."""
    files = [*folder.glob(f"replica-*/spool/*{SUFFIX}"), *folder.glob(f"replica-*/spool/{ASIDE}")]
    return sum(file.stat().st_size for file in files)
