"""A process may start before its database does: it answers meanwhile, and is ready when that is there."""

import asyncio

import pytest

from proxy.app.opening import Opening, Step
from proxy.core.errors import LedgerError
from proxy.store.engine import DatabaseAway


class Steps:
    """Steps that fail as often as they are told to, and say what they did."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.done: list[str] = []
        self._failures = failures

    def of(self, *names: str) -> list[Step]:
        """Steps of these names."""
        return [self._step(name) for name in names]

    def _step(self, name: str) -> Step:
        async def step() -> None:
            if failures := self._failures.get(name):
                raise failures.pop(0)
            self.done.append(name)

        return step


async def opened(opening: Opening) -> None:
    """Wait until it is open."""
    async with asyncio.timeout(30):
        while opening.reason:  # noqa: ASYNC110 - as a probe does
            await asyncio.sleep(0.01)


async def test_where_the_database_is_there_all_is_open_at_once() -> None:
    steps = Steps()
    opening = Opening(steps.of("ask", "migrate", "start"))
    assert opening.reason

    await opening.begin()

    assert (steps.done, opening.reason) == (["ask", "migrate", "start"], "")
    await opening.stop()


async def test_where_it_is_away_the_process_goes_on_and_each_step_is_done_once() -> None:
    """Also where it goes away in between."""
    away = DatabaseAway("nobody there")
    steps = Steps(ask=[away, away], start=[away])
    opening = Opening(steps.of("ask", "migrate", "start"))

    await opening.begin()
    assert (steps.done, opening.reason) == ([], "nobody there")

    await opened(opening)
    assert steps.done == ["ask", "migrate", "start"]
    await opening.stop()


async def test_a_mistake_ends_the_start_where_it_is_seen_at_once() -> None:
    """A database that does not exist will not exist in a minute."""
    opening = Opening(Steps(ask=[LedgerError("no such database")]).of("ask"))

    with pytest.raises(LedgerError, match="no such database"):
        await opening.begin()
    await opening.stop()


async def test_a_mistake_that_is_seen_later_is_told_and_can_be_put_right() -> None:
    """Who serves already is not ended: what it says of itself is that it is not ready."""
    steps = Steps(ask=[DatabaseAway("nobody there"), LedgerError("no such database")])
    opening = Opening(steps.of("ask"))

    await opening.begin()
    await opened(opening)

    assert steps.done == ["ask"]
    await opening.stop()


async def test_stopping_ends_the_asking() -> None:
    opening = Opening(Steps(ask=[DatabaseAway("nobody there")] * 1_000).of("ask"))
    await opening.begin()

    await opening.stop()

    assert opening.reason == "nobody there"
