"""What is done to the machines, at random, one thing beside the other."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import httpx

from bench.soak import config
from bench.soak.config import ADMIN_TOKEN, TIGHT, tight_limit_usd
from bench.soak.machines import HomeDatabase, Replica
from bench.soak.plan import Fault, Plan

_FACTORS = (0.5, 0.8, 1.0, 1.5, 3.0)  # of the tight budget's limit, when it is changed
_DEFAULTS = (1024, 2048, 4096)
Say = Callable[[str], None]


class Chaos:
    """Hurts the machines until told to stop, then waits until all that it did is over."""

    def __init__(
        self,
        plan: Plan,
        replicas: Sequence[Replica],
        database: HomeDatabase,
        upstream: str,
        say: Say,
    ) -> None:
        self.done: Counter[Fault] = Counter()
        self._plan = plan
        self._replicas = replicas
        self._database = database
        self._upstream = upstream
        self._say = say
        self._dice = random.Random(f"{plan.seed}-chaos")
        self._under_way: set[asyncio.Task[None]] = set()
        self._database_free = asyncio.Lock()
        self._busy: set[int] = set()  # replicas that something is done to
        self._enough = asyncio.Event()
        self._ways: dict[Fault, Callable[[], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.STOP: self._stop,
            Fault.FREEZE: self._freeze,
            Fault.DATABASE_PAUSE: self._pause_database,
            Fault.DATABASE_RESTART: self._restart_database,
            Fault.BUDGET: self._change_budget,
            Fault.RELOAD: self._reload,
            Fault.BAD_RELOAD: self._offer_nonsense,
        }

    async def work(self, stop: asyncio.Event) -> None:
        """Until told to stop, or until there were as many kills as the plan wants."""
        plan = self._plan
        while not stop.is_set():
            await asyncio.sleep(self._dice.expovariate(1 / plan.every_s))
            fault = self._dice.choice(plan.faults)
            task = asyncio.get_running_loop().create_task(self._do(fault))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            if plan.kills and self.done[Fault.KILL] >= plan.kills:
                return

    async def over(self) -> None:
        """Wait until everything stands again. Raises what went wrong with it."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def _do(self, fault: Fault) -> None:
        await self._ways[fault]()

    def _did(self, fault: Fault, what: str = "") -> None:
        self.done[fault] += 1
        self._say(f"{fault} {what}".strip())

    # Replicas

    @contextlib.contextmanager
    def _some_replica(self) -> "contextlib._GeneratorContextManager[Replica | None]":  # type: ignore[misc]
        free = [r for r in self._replicas if r.number not in self._busy]
        replica = self._dice.choice(free) if free else None
        if replica is not None:
            self._busy.add(replica.number)
        try:
            yield replica
        finally:
            if replica is not None:
                self._busy.discard(replica.number)
