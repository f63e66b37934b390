"""What is done to the machines, at random, one thing beside the other."""

import asyncio
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
_LONGEST_OUTAGE_S = 2.5
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
        self._busy: set[int] = set()  # replicas that something is done to
        self._database_busy = False
        self._on_replicas: dict[Fault, Callable[[Replica], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.STOP: self._stop,
            Fault.FREEZE: self._freeze,
            Fault.BUDGET: self._change_budget,
            Fault.RELOAD: self._reload,
            Fault.BAD_RELOAD: self._offer_nonsense,
        }
        self._on_database: dict[Fault, Callable[[float], Awaitable[None]]] = {
            Fault.DATABASE_PAUSE: database.pause,
            Fault.DATABASE_RESTART: database.restart,
        }

    async def work(self, stop: asyncio.Event) -> None:
        """Until told to stop; where the plan wants so many kills, until there were so many."""
        plan = self._plan
        while not (self.done[Fault.KILL] >= plan.kills if plan.kills else stop.is_set()):
            await asyncio.sleep(self._dice.expovariate(1 / plan.every_s))
            fault = self._dice.choice(plan.faults)
            task = asyncio.get_running_loop().create_task(self._do(fault))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    async def over(self) -> None:
        """Wait until everything stands again. Raises what went wrong with it."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._under_way.discard(task)  # else it is kept, for over() to raise

    async def _do(self, fault: Fault) -> None:
        if fault in self._on_database:
            if not self._database_busy:
                self._database_busy = True
                seconds = self._dice.uniform(0.2, _LONGEST_OUTAGE_S)
                self._did(fault, f"for {seconds:.1f} s")
                await self._on_database[fault](seconds)
                self._database_busy = False
            return
        free = [r for r in self._replicas if r.number not in self._busy]
        if free:
            replica = self._dice.choice(free)
            self._busy.add(replica.number)
            self._did(fault, f"({replica.number})")
            await self._on_replicas[fault](replica)
            self._busy.discard(replica.number)

    def _did(self, fault: Fault, what: str = "") -> None:
        self.done[fault] += 1
        self._say(f"{fault} {what}")

    # Replicas

    async def _kill(self, replica: Replica) -> None:
        await replica.kill()
        await asyncio.sleep(self._dice.choice((0, 0.3, 1.5 * self._plan.lease_s)))
        await replica.start()

    async def _stop(self, replica: Replica) -> None:
        await replica.stop()
        await replica.start()

    async def _freeze(self, replica: Replica) -> None:
        """Others settle its calls as lost; then it comes back and settles them itself."""
        replica.freeze()
        await asyncio.sleep(1.7 * self._plan.lease_s)
        replica.thaw()

    # What administrators do

    async def _change_budget(self, replica: Replica) -> None:
        limit = round(tight_limit_usd(self._plan) * self._dice.choice(_FACTORS), 9)
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(base_url=replica.url, headers=headers, timeout=10) as client:
            try:
                body = {"id": TIGHT, "limit_usd": f"{limit:f}"}
                answer = await client.put("/admin/v1/budgets", json=body)
            except httpx.HTTPError:
                return  # the database, or its way there, was away just then
            if answer.is_client_error:
                raise RuntimeError(f"the budget was not changed: {answer.text}")

    async def _reload(self, replica: Replica) -> None:
        self._write(replica, self._dice.choice(_DEFAULTS))
        replica.reload()

    async def _offer_nonsense(self, replica: Replica) -> None:
        """It is to be refused, and the last good one kept."""
        replica.place.config.write_text("ledger: {unavailable: perhaps}\n")
        replica.reload()
        await asyncio.sleep(0.5)
        self._write(replica, max(_DEFAULTS))

    def _write(self, replica: Replica, output_default: int) -> None:
        config.write(
            self._plan,
            replica.place,
            self._database.url,
            self._upstream,
            defaults={"max_output_tokens": output_default},
        )
