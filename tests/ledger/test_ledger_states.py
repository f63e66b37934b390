"""Whatever happens in whatever order, the totals are the sums of their rows, and no budget is overrun.

Two processes on one database hold, settle, give back, note attempts, refuse, crash, are taken for dead
and come back, while budgets change and the clock runs, leaps and steps back. After every step:

- I1, by the code that operators run (``verify``);
- I2: no window of a blocking budget went further over its limit, but by what is shown as overdraft;
- I3: every call that ended, or was swept, has one row, with each of its attempts once.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import replace as changed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from proxy.core.budgets import EACH, Budget, OnExceed, Refused, Scope, Window, WindowKey
from proxy.core.call import Outcome, Principal, new_call_id
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.base import Release, now_us
from proxy.store import migrate
from tests.ledger.homes import Home
from tests.ledger.samples import (
    DAY_US,
    HOUR_US,
    attempt,
    budget,
    pending,
    principal,
    refusal,
    request,
    settlement,
)

CALLERS = st.builds(
    principal,
    st.sampled_from(["search", "ads"]),
    st.sampled_from(["k1", "k2"]),
    user=st.sampled_from(["", "ann", "bob"]),
    tags=st.sampled_from([(), (("env", "prod"),), (("env", "prod"), ("job", "x"))]),
)
BUDGETS: list[Budget] = [
    budget(3_000),
    budget(2_000, window=Window.DAY, id="day", timezone="America/New_York"),
    budget(900, EACH, id="users", scope=Scope.USER, window=Window.HOUR),
    budget(5_000, "acme", id="all", scope=Scope.ORGANISATION, window=Window.TOTAL),
    budget(1_500, "env=prod", id="prod", scope=Scope.TAG, window=Window.WEEK, team="search"),
    budget(100, "gpt-5-mini", id="model", scope=Scope.MODEL, on_exceed=OnExceed.WARN),
]
AMOUNTS = st.integers(0, 1_200)


class LedgerStates(RuleBasedStateMachine):
    """On one kind of database, made anew for each example."""

    kind = "memory"
    server = ""
    _numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.home = Home(self.run(self._new_url()))
        if self.home.url is not None:
            self.run(migrate.upgrade(self.home.database()))
        self.processes: list[Any] = [self.run(self.home.open()) for _ in range(2)]
        self.under_way: dict[str, tuple[HoldRequest, Hold]] = {}
        self.ended: dict[str, HoldRequest] = {}
        self.costs: dict[str, int] = {}
        self.before: dict[WindowKey, tuple[int, int]] = {}  # total and overdraft
        self.edited = False  # a budget was, by this step

    async def _new_url(self) -> str | None:
        if self.kind == "sqlite":
            return f"sqlite:///{Path(self.folder.name)}/farebox.db"
        if self.kind == "postgres":
            import asyncpg  # noqa: PLC0415 - only for this kind

            name = f"states_{next(self._numbers)}_{new_call_id()[3:]}"
            connection = await asyncpg.connect(f"{self.server}/postgres")
            await connection.execute(f"CREATE DATABASE {name}")
            await connection.close()
            return f"{self.server}/{name}"
        return None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let one step happen."""
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """Stop both."""
        self.run(self.home.close())
        self.loop.close()
        self.folder.cleanup()

    # Calls

    @rule(caller=CALLERS, amount=AMOUNTS, estimate=AMOUNTS, which=st.integers(0, 1))
    def reserve(self, caller: Principal, amount: int, estimate: int, which: int) -> None:
        """A hold that is admitted fits every blocking budget over it."""
        at_us = self.home.clock.now_us
        asked = request(amount, caller, estimate_nano=estimate, started_at_us=at_us)
        answer = self.run(self.processes[which].reserve(asked))
        if isinstance(answer, Refused):
            assert answer.amount_nano > answer.available_nano
            return
        self.under_way[asked.record.id] = (asked, answer)
        on = {(key.budget_id, key.subject) for key in answer.windows}
        for view in self.run(self.processes[1 - which].budgets()):
            for window in view.windows:
                if view.budget.blocks and (view.budget.id, window.subject) in on:
                    assert window.spent_nano + window.held_nano <= view.budget.limit_nano

    @rule(caller=CALLERS)
    def refuse(self, caller: Principal) -> None:
        """A refused call leaves a row."""
        refused = refusal(caller, started_at_us=self.home.clock.now_us)
        self.run(self.processes[0].settle(refused))
        self.costs[refused.record.id] = 0

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), cost=st.integers(0, 1_500), which=st.integers(0, 1))
    def settle(self, data: st.DataObject, cost: int, which: int) -> None:
        """Also in another process than the one that held, and after a sweep."""
        call_id = data.draw(st.sampled_from(sorted(self.under_way)))
        asked, hold = self.under_way.pop(call_id)
        self.run(self.processes[which].settle(_end(asked, cost, hold)))
        self.ended[call_id] = asked
        self.costs[call_id] = cost

    @rule(caller=CALLERS, amount=AMOUNTS, which=st.integers(0, 1))
    def give_back(self, caller: Principal, amount: int, which: int) -> None:
        """The client had gone when its hold was there: nothing was sent, and no row is due."""
        at_us = self.home.clock.now_us
        asked = request(amount, caller, started_at_us=at_us)
        if isinstance(self.run(self.processes[which].reserve(asked)), Hold):
            self.run(self.processes[which].ask(Release(asked.record.id)))
            assert self.run(self.processes[which].call(asked.record.id)) is None

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), cost=st.integers(0, 1_500), which=st.integers(0, 1))
    def settle_again(self, data: st.DataObject, cost: int, which: int) -> None:
        """It changes nothing."""
        asked = self.ended[data.draw(st.sampled_from(sorted(self.ended)))]
        self.run(self.processes[which].settle(_end(asked, cost)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), which=st.integers(0, 1))
    def try_again(self, data: st.DataObject, which: int) -> None:
        """A further attempt."""
        call_id = data.draw(st.sampled_from(sorted(self.under_way)))
        asked, hold = self.under_way[call_id]
        *earlier, last = asked.record.attempts
        failed = attempt(last.number, 0, status=503, error="status_503", charge=())
        record = replace(asked.record, attempts=(*earlier, failed, pending(last.number + 1)))
        self.run(self.processes[which].attempt(hold, record))
        self.under_way[call_id] = (replace(asked, record=record), hold)

    # Crashes

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        """Another process takes the place of one that died."""
        self.run(self.home.kill(self.processes[which]))
        self.processes[which] = self.run(self.home.open())

    @rule(which=st.integers(0, 1))
    def sweep(self, which: int) -> None:
        """All others are taken for dead, also one that is not: it will settle late."""
        late = max(self.home.clock.now_us, now_us()) + 10 * DAY_US
        self.run(self.processes[which].sweep(late))

    # Budgets

    @rule(
        chosen=st.lists(st.sampled_from(BUDGETS), unique_by=lambda b: b.id),
        limit=st.sampled_from([None, 500, 4_000]),
    )
    def configure(self, chosen: list[Budget], limit: int | None) -> None:
        """Budgets come, go and change with the configuration."""
        wanted = [changed(b, limit_nano=limit) if limit else b for b in chosen]
        self.edited = True
        self.run(self.processes[0].sync_budgets(wanted))

    @rule(chosen=st.sampled_from(BUDGETS), limit=st.integers(0, 5_000))
    def edit(self, chosen: Budget, limit: int) -> None:
        """A limit changes through the API."""
        self.edited = True
        self.run(self.processes[1].set_budget(changed(chosen, limit_nano=limit), "ann"))

    @rule(subject=st.sampled_from(["search", "ads"]))
    def cover_others(self, subject: str) -> None:
        """A budget comes to cover other calls."""
        self.edited = True
        self.run(self.processes[1].set_budget(budget(3_000, subject, id="moving"), "ann"))

    @rule()
    def remove(self) -> None:
        """And goes."""
        self.run(self.processes[0].remove_budget("moving", "ann"))

    # Time

    @rule(step=st.sampled_from([HOUR_US, 5 * HOUR_US, DAY_US, 9 * DAY_US, 31 * DAY_US]))
    def pass_time(self, step: int) -> None:
        """Windows roll over, calls under way with them."""
        self.home.clock.now_us += step

    @rule(step=st.sampled_from([1_000_000, HOUR_US, 2 * DAY_US, 40 * DAY_US]))
    def step_back(self, step: int) -> None:
        """Somebody sets the clock."""
        self.home.clock.now_us -= step

    # What holds

    @invariant()
    def books_balance(self) -> None:
        """I1, with the code that operators run."""
        assert self.run(self.processes[0].verify()) == []

    @invariant()
    def nothing_is_overrun_unseen(self) -> None:
        """I2. A limit that was just lowered is no overrun; what comes on top of it is."""
        now: dict[WindowKey, tuple[int, int]] = {}
        for view in self.run(self.processes[1].budgets()):
            limit = view.budget.limit_nano
            for window in view.windows:
                key = WindowKey(view.budget.id, window.subject, window.starts_at)
                total = window.spent_nano + window.held_nano
                now[key] = total, window.overdraft_nano
                was, shown = self.before.get(key, (total, window.overdraft_nano))
                if view.budget.blocks and not self.edited:
                    assert total - max(limit, was) <= window.overdraft_nano - shown or total <= was
        self.before, self.edited = now, False

    @invariant()
    def every_attempt_has_one_row(self) -> None:
        """I3, of the calls that are over."""
        for call_id, asked in self.ended.items():
            record = self.run(self.processes[1].call(call_id))
            assert record is not None
            numbers = [attempt.number for attempt in record.attempts]
            assert numbers == list(range(1, len(asked.record.attempts) + 1)), numbers

    def _check_costs(self) -> None:
        for call_id, cost in self.costs.items():
            record = self.run(self.processes[0].call(call_id))
            assert (record.cost_nano, record.outcome is Outcome.LOST) == (cost, False)


def _end(asked: HoldRequest, cost: int, hold: Hold | None = None) -> Settlement:
    """Its last attempt was answered."""
    *earlier, last = asked.record.attempts
    end = settlement(asked, cost, hold)
    answered = replace(end.record.attempts[0], number=last.number)
    return replace(end, record=replace(end.record, attempts=(*earlier, answered)))


def run_states(kind: str, examples: int, steps: int, server: str = "") -> None:
    """Run the machine on one kind of database; every settled call has its own last word."""

    class States(LedgerStates):
        def teardown(self) -> None:
            self._check_costs()
            super().teardown()

    States.kind, States.server = kind, server
    States.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case = States.TestCase()
    case.runTest()


def test_in_memory() -> None:
    run_states("memory", examples=40, steps=30)


def test_on_sqlite() -> None:
    run_states("sqlite", examples=12, steps=25)


def test_on_postgres(postgres_server: str) -> None:
    run_states("postgres", examples=4, steps=25, server=postgres_server)
