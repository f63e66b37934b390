"""The adversary in short, and that it sees what it looks for."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, update

from bench.soak.plan import Plan
from bench.soak.reckoning import (
    NEVER_SENT,
    NOT_REACHED,
    NOT_READ,
    UNEXPLAINED,
    Attempt,
    Line,
    compare,
)
from bench.soak.soak import Outcome, soak
from bench.soak.table import table
from bench.soak.traffic import Tally
from bench.soak.watch import Watch, install
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.schema import budget_windows, budgets, holds

pytestmark = pytest.mark.xdist_group("replicas")  # each keeps every processor busy

ATTEMPT = Attempt(
    "fb-1", 1, "tag", "completed", 1_000_000, "id-1", 200, "provider", "", 500, "m", ""
)
LINE = Line("req-1", "id-1", "tag", 1.0, 200, "completed", "m", 500, stream=False)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_books_agree_after_all_kinds_of_trouble(database: str, tmp_path: Path) -> None:
    """Seconds of it; ``make soak`` takes a minute."""
    plan = Plan(database=database, seed=4, seconds=6, every_s=0.7, replicas=2, lease_s=1.5)
    found = await soak(plan, tmp_path, lambda _: None)

    assert found.failures() == [], table(found)
    assert found.reckoning.attempts > 5
    assert sum(found.faults.values()) >= 2


# What the comparison sees


def test_an_attempt_and_its_line() -> None:
    found = compare([ATTEMPT], [LINE])

    assert (found.missing, found.double, found.unexplained, found.wrong) == ([], [], [], [])
    assert found.differences["provider"].nano == 0


def test_a_line_that_the_ledger_does_not_know() -> None:
    assert compare([], [LINE]).missing == [LINE]
    assert compare(
        [ATTEMPT], [LINE, replace(LINE, request_id="req-2", completion_id="id-2")]
    ).missing


def test_an_attempt_that_is_there_twice() -> None:
    again = replace(ATTEMPT, number=2)

    assert compare([ATTEMPT, again], [LINE]).double == [again]


def test_a_reported_usage_that_was_charged_otherwise() -> None:
    found = compare([replace(ATTEMPT, cost_nano=501)], [LINE])

    assert len(found.wrong) == 1
    assert found.differences["provider"].nano == 1


def test_a_counted_usage_may_differ() -> None:
    found = compare([replace(ATTEMPT, cost_nano=510, usage_source="counted")], [LINE])

    assert (found.wrong, found.differences["counted"].each_nano) == ([], [20])


@pytest.mark.parametrize(
    ("off", "spread", "number", "wrong"),
    [
        (10, 5, 400, False),  # 1 %
        (25, 5, 400, True),  # 2.5 %, and no chance
        (25, 5, 100, False),  # but too few
        (25, 600, 400, False),  # or chance
        (-25, 5, 400, True),
    ],
)
def test_counted_and_estimated_ones_must_come_within_two_percent(
    off: int, spread: int, number: int, wrong: bool
) -> None:
    """All together, by more than chance."""
    costs = [1_000 + off + (spread if n % 2 else -spread) for n in range(number)]
    found = [
        replace(ATTEMPT, upstream_call_id=f"id-{n}", usage_source="counted", cost_nano=cost)
        for n, cost in enumerate(costs)
    ]
    lines = [
        replace(LINE, request_id=f"r-{n}", completion_id=f"id-{n}", cost_nano=1_000)
        for n in range(number)
    ]

    assert compare(found, lines).verdict().is_wrong == wrong


def test_without_an_id_the_tag_and_the_order_tell() -> None:
    """Two attempts of one call, of which the first was given up without a word of the provider."""
    first = replace(ATTEMPT, upstream_call_id="", usage_source="none", cost_nano=0, status=None)
    second = replace(ATTEMPT, number=2, started_at_us=2_000_000)
    early = Line("req-0", "", "tag", 0.5, 0, "died", "", 0, stream=False)

    found = compare([first, second], [LINE, early])

    assert (found.missing, found.unexplained, found.pairs) == (
        [],
        [],
        [(second, LINE), (first, early)],
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": "lost", "usage_source": "estimated"}, NEVER_SENT),
        ({"error": "connect", "usage_source": "none"}, NOT_REACHED),
        ({"error": "client_left", "status": None, "usage_source": "counted"}, NOT_READ),
        ({}, UNEXPLAINED),
    ],
)
def test_an_attempt_without_a_line_needs_a_reason(changes: dict[str, str], reason: str) -> None:
    found = compare([replace(ATTEMPT, upstream_call_id="", **changes)], [])  # type: ignore[arg-type]

    assert found.alone == Counter({reason: 1})
    assert len(found.unexplained) == (reason == UNEXPLAINED)


# What the checker sees


@pytest.fixture
async def watch(database: str, tmp_path: Path) -> AsyncIterator[Watch]:
    """A watched database with a budget of 100 nano-dollars, of which 60 are spent and 30 held."""
    home = Database(f"sqlite:///{tmp_path}/farebox.db" if database == "sqlite" else database)
    await migrate.upgrade(home)
    await install(home)

    def fill(connection: Connection) -> None:
        budget = {"scope": "team", "subject": "a", "window": "total", "on_exceed": "block"}
        times = {"created_at_us": 0, "updated_at_us": 0}
        connection.execute(
            insert(budgets).values(id="b", limit_nano=100, origin="api", **budget, **times)
        )
        window = {"spent_nano": 60, "held_nano": 30}
        connection.execute(
            insert(budget_windows).values(budget_id="b", subject="a", starts_at=0, **window)
        )
        hold = {
            "owner": "o",
            "windows": '[["b","a",0]]',
            "created_at_us": 0,
            "model": "",
            "record": "",
        }
        connection.execute(insert(holds).values(call_id="c", amount_nano=30, **hold))

    await home.run(fill)
    found = Watch(home)
    await found.sample()
    yield found
    await home.close()


async def change(watch: Watch, limit: int | None = None, **values: int) -> None:
    """Write the window, or the limit, and look again."""

    def work(connection: Connection) -> None:
        if limit is not None:
            connection.execute(update(budgets).values(limit_nano=limit))
        if values:
            connection.execute(update(budget_windows).values(**values))

    await watch.database.run(work)
    await watch.sample()


async def seen(watch: Watch) -> tuple[int, int, int]:
    """How often: a write over the limit, a snapshot of it, a sum that is wrong."""
    unseen, _ = await watch.writes_over()
    return len(unseen), len(watch.overruns), len(watch.sums_wrong)


async def test_what_fits_is_fine(watch: Watch) -> None:
    await change(watch, spent_nano=70)

    assert await seen(watch) == (0, 0, 0)


async def test_a_window_over_its_limit_is_seen(watch: Watch) -> None:
    await change(watch, spent_nano=71)

    assert await seen(watch) == (1, 1, 0)


async def test_what_is_shown_as_overdraft_is_told_apart(watch: Watch) -> None:
    await change(watch, spent_nano=75, overdraft_nano=5)
    assert await seen(watch) == (0, 0, 0)
    assert len((await watch.writes_over())[1]) == 1

    await change(watch, spent_nano=80, overdraft_nano=9)
    assert await seen(watch) == (1, 1, 0)


async def test_what_comes_and_goes_between_two_looks_is_seen_by_the_trigger(watch: Watch) -> None:
    def work(connection: Connection) -> None:
        connection.execute(update(budget_windows).values(spent_nano=99))

    await watch.database.run(work)
    await change(watch, spent_nano=60)

    assert await seen(watch) == (1, 0, 0)


async def test_a_limit_may_be_lowered_below_what_is_spent(watch: Watch) -> None:
    """But then nothing may come on top."""
    await change(watch, limit=50)
    await change(watch, spent_nano=55)
    assert await seen(watch) == (0, 0, 0)

    await change(watch, spent_nano=56)
    assert await seen(watch) == (1, 1, 0)


async def test_a_forgotten_hold_is_seen(watch: Watch) -> None:
    await change(watch, held_nano=29)

    assert await seen(watch) == (0, 0, 1)


def test_whatever_is_wrong_fails_the_run() -> None:
    """Each thing alone."""
    good = Outcome(Plan(), Tally(), {}, Watch(Database("sqlite://")), compare([ATTEMPT], [LINE]))
    assert good.failures() == []
    lost = compare([], [LINE])
    doubled = compare([ATTEMPT, replace(ATTEMPT, number=2)], [LINE])
    alone = compare([replace(ATTEMPT, upstream_call_id="")], [])
    for bad in (
        *(replace(good, reckoning=r) for r in (lost, doubled, alone)),
        replace(good, overruns=["x"]),
        replace(good, over_their_hold=["x"]),
        replace(good, spool_left=1),
        replace(good, holds_left=1),
        replace(good, books=["x"]),
        replace(good, tally=Tally(unexpected=["x"])),
        replace(good, watch=Watch(good.watch.database, overruns=["x"])),
        replace(good, watch=Watch(good.watch.database, sums_wrong=["x"])),
    ):
        assert len(bad.failures()) == 1
        assert "rows missing" in table(bad)
