"""A budget is never overrun, and the application is told so in a way that it stops."""

import asyncio
import re
from typing import Any, Self

import openai
import pytest

from proxy.store.vocabulary import Vocabulary
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, Running, chat_body, nano

FIVE_CENTS = nano("0.05")
CALL: Config = {"model": "gpt-4o", "max_tokens": 100}


def team(limit_usd: float, **budget: Any) -> Config:
    """A team with one budget, by the month."""
    return {"name": "search", "budgets": [{"limit_usd": limit_usd, "window": "month"} | budget]}


def told(message: str) -> tuple[int, int, int, int]:
    """Limit, spent, held and what the call may cost, as the refusal states them, in nano-dollars."""
    found = re.findall(r"\$([0-9.]+\d)", message)
    assert len(found) == 4, message
    limit, spent, held, cost = map(nano, found)
    return limit, spent, held, cost


async def test_calls_go_through_until_the_next_might_not_fit(start: Start) -> None:
    """429 names the budget and adds up; what was spent is the provider's bill, and within the limit."""
    async with start(teams=[team(0.05)]) as run:
        admitted = 0
        while (answer := await run.chat("[[sim: output_tokens=100]]", **CALL)).status_code == 200:
            admitted += 1
        error = answer.json()["error"]
        limit, spent, held, cost = told(error["message"])
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        assert (limit, spent, held) == (FIVE_CENTS, invoiced, 0)
        assert spent <= FIVE_CENTS < spent + cost
        assert admitted == len(await run.invoice()) > 20
        assert await run.settled_cleanly() == invoiced
        row = (await run.calls())[-1]
    assert answer.status_code == 429
    assert error["code"] == "budget_exceeded"
    assert error["type"] == "insufficient_quota"
    assert "'team:search:month'" in error["message"]
    assert re.search(r"resets \d{4}-\d\d-01T00:00:00Z", error["message"])
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-farebox-call-id"] == row["id"]
    assert (row["outcome"], row["refusal"]) == ("refused", "budget_exceeded")
    assert (row["status"], row["attempts"], row["cost_usd"]) == (429, 0, "0.00")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_sdk_raises_at_once(start: Start, stream: bool) -> None:
    """A refusal for the budget is not tried again, as the SDK does with other 429s."""
    async with start(teams=[team(0.0001)]) as run, run.sdk() as sdk:
        with pytest.raises(openai.RateLimitError) as error:
            await sdk.chat.completions.create(**chat_body(**CALL), stream=stream)
        rows = await run.calls()
        assert await run.invoice() == []
    assert error.value.code == "budget_exceeded"
    assert [row["status"] for row in rows] == [429]


async def test_the_sdk_does_retry_what_the_provider_refuses(run: Running) -> None:
    """The counter-check: a 429 of the provider's own is tried again, and is two calls."""
    async with run.sdk(max_retries=1) as sdk:
        with pytest.raises(openai.RateLimitError):
            await sdk.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "[[sim: status=429,retry_after=0]]"}],
            )
    assert [row["status"] for row in await run.calls()] == [429] * 2


class Sampler:
    """Looks at a budget again and again while calls run; ``most`` is the most that it had spent and held."""

    def __init__(self, run: Running, budget_id: str = "team:search:month") -> None:
        self._run = run
        self._id = budget_id
        self.most = 0
        self.looks = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _look(self) -> None:
        while True:
            views = await self._run.app.house.ledger.budgets()
            for view in views:
                if view.budget.id == self._id:
                    for window in view.windows:
                        self.most = max(self.most, window.spent_nano + window.held_nano)
            self.looks += 1


@pytest.mark.parametrize("stream", [False, True])
async def test_sixty_four_at_once_at_the_edge(start: Start, stream: bool) -> None:
    """As many are let in as fit, with the most that each may cost; spent and held never exceed the limit."""
    async with start(teams=[team(0.05)], ledger={"hold_wait_s": 0}) as run, Sampler(run) as sampler:
        prompt = "[[sim: output_tokens=100,first_byte_ms=400]]"
        answers = await asyncio.gather(
            *(run.chat(prompt, **CALL, stream=stream) for _ in range(64))
        )
        rows = await run.calls()
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        assert await run.settled_cleanly() == invoiced
    assert {answer.status_code for answer in answers} == {200, 429}
    held = [nano(row["held_usd"]) for row in rows if row["status"] == 200]
    refused = [a.json()["error"]["message"] for a in answers if a.status_code == 429]
    assert sum(held) <= FIVE_CENTS
    assert sum(held) + min(told(message)[3] for message in refused) > FIVE_CENTS
    assert sum(held) <= sampler.most <= FIVE_CENTS
    assert sampler.looks > 3
    assert invoiced <= FIVE_CENTS


async def test_sixty_four_at_once_that_wait_for_each_other(start: Start) -> None:
    """Who waits gets what others give back: far more get in than could be held at once; never over."""
    async with start(teams=[team(0.05)], ledger={"hold_wait_s": 5}) as run, Sampler(run) as sampler:
        prompt = "[[sim: output_tokens=20]]"
        answers = await asyncio.gather(
            *(run.chat(prompt, model="gpt-4o", max_tokens=1000) for _ in range(64))
        )
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        assert await run.settled_cleanly() == invoiced
    assert [answer.status_code for answer in answers] == [200] * 64
    assert sampler.most <= FIVE_CENTS
    assert invoiced > 10_000_000  # of which four calls could have been held at once


async def test_a_call_waits_for_a_hold_that_is_in_its_way(start: Start) -> None:
    """Where only another call's hold is in the way, the call is let in as soon as that one settles."""
    async with start(teams=[team(0.004)], ledger={"hold_wait_s": 5}) as run:
        slow = asyncio.create_task(run.chat("[[sim: first_byte_ms=300,output_tokens=9]]", **CALL))
        await run.upstream_heard(1)
        second = await run.chat("[[sim: output_tokens=9]]", **CALL)
        assert (await slow).status_code == 200
        assert second.status_code == 200
        assert second.elapsed.total_seconds() < 5


async def test_without_waiting_it_is_refused_at_once(start: Start) -> None:
    """``hold_wait_s: 0`` refuses, and says how much others hold at the moment."""
    async with start(teams=[team(0.004)], ledger={"hold_wait_s": 0}) as run:
        slow = asyncio.create_task(run.chat("[[sim: first_byte_ms=300]]", **CALL))
        await run.upstream_heard(1)
        refused = await run.chat("Hello", **CALL)
        first = await slow
        assert refused.status_code == 429
        held = told(refused.json()["error"]["message"])[2]
        assert held == nano((await run.calls())[0]["held_usd"]) > 0
        assert first.status_code == 200


async def test_waiting_has_an_end(start: Start) -> None:
    """Where nothing is given back in time, the call is refused after ``hold_wait_s``, and not before."""
    async with start(teams=[team(0.004)], ledger={"hold_wait_s": 0.2}) as run:
        slow = asyncio.create_task(run.chat("[[sim: first_byte_ms=800]]", **CALL))
        await run.upstream_heard(1)
        refused = await run.chat("Hello", **CALL)
        assert refused.status_code == 429
        assert 0.2 <= refused.elapsed.total_seconds() < 0.8
        assert not slow.done()
        assert (await slow).status_code == 200


async def test_a_call_that_can_never_fit_does_not_wait(start: Start) -> None:
    """More than the whole limit is refused at once, whatever others hold."""
    async with start(teams=[team(0.004)], ledger={"hold_wait_s": 10}) as run:
        refused = await run.chat("Hello", model="gpt-4o", max_tokens=16_000)
        assert refused.status_code == 429
        assert refused.elapsed.total_seconds() < 5


async def test_the_tokenizer_lets_in_what_the_bytes_would_not(start: Start) -> None:
    """A long prompt whose bytes would not fit is counted, and admitted with the closer bound."""
    async with start(teams=[team(0.05)]) as run:
        prompt = "water river morning light garden " * 1000  # 33,000 bytes, 5,000 tokens
        answer = await run.chat(prompt, model="gpt-4o", max_tokens=50)
        row = (await run.calls())[0]
    assert answer.status_code == 200
    assert nano(row["cost_usd"]) <= nano(row["held_usd"]) <= FIVE_CENTS
    assert FIVE_CENTS < 33_000 * 2_500  # nano-dollars, if each byte were a token


async def test_a_budget_that_is_spent_refuses_without_counting(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would fit: a client that goes on asking costs no time of the tokenizer's."""
    async with start() as run:
        await run.chat("Hello", **CALL)
        monkeypatch.delattr(Vocabulary, "count_prompt")
        budget = {"id": "team:search:month", "limit_usd": "0.0000001"}
        await run.admin("PUT", "/budgets", json=budget)
        refused = await run.chat("Hello " * 1000, **CALL)
        assert refused.json()["error"]["code"] == "budget_exceeded"


async def test_a_limit_that_is_met_exactly_is_not_exceeded(start: Start) -> None:
    """Spent and held may equal the limit; with one nano-dollar less it takes the closer bound, or refuses."""
    async with start() as run:

        async def held_with(room: int) -> int:
            """What a call is held for where there is so much room in the budget."""
            limit = nano((await run.budget())["spent_usd"]) + room
            budget = {"id": "team:search:month", "limit_usd": f"{limit / 1_000_000_000:.9f}"}
            await run.admin("PUT", "/budgets", json=budget)
            answer = await run.chat("Hello", **CALL)
            assert answer.status_code in {200, 429}
            return nano((await run.calls())[-1]["held_usd"])

        by_bytes = await held_with(10**9)
        assert await held_with(by_bytes) == by_bytes
        by_count = await held_with(by_bytes - 1)
        assert 0 < by_count < by_bytes
        assert await held_with(by_count) == by_count
        assert await held_with(by_count - 1) == 0


async def test_a_refused_call_takes_nothing(start: Start) -> None:
    """What one call could not have is there for a smaller one."""
    async with start(teams=[team(0.004)]) as run:
        assert (await run.chat("Hello", model="gpt-4o", max_tokens=9000)).status_code == 429
        assert (await run.chat("Hello", **CALL)).status_code == 200


async def test_a_failed_call_gives_its_hold_back(start: Start) -> None:
    """Errors of the provider cost nothing, and leave the budget as it was."""
    async with start(teams=[team(0.004)]) as run:
        for status in (400, 401, 429, 500, 503):
            assert (await run.chat(f"[[sim: status={status}]]", **CALL)).status_code == status
        assert await run.settled_cleanly() == 0
        assert (await run.chat("Hello", **CALL)).status_code == 200


async def test_a_budget_survives_a_change_of_keys(start: Start) -> None:
    """A team's budget is the team's: another key of it meets the same limit."""
    keys = [
        {"name": name, "team": "search", "key": f"{KEY}-{name}"} for name in ("first", "second")
    ]
    async with start(teams=[team(0.004)], keys=keys) as run:
        while (await run.chat("Hello", key=f"{KEY}-first", **CALL)).status_code == 200:
            pass
        assert (await run.chat("Hello", key=f"{KEY}-second", **CALL)).status_code == 429
