"""A budget that fills is told, once, to a receiver that answers at last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response

from proxy.observe.alerts import Alerting
from proxy.settings import AlertSettings
from proxy.simulator import serve
from proxy.store.alerts import AlertQueue
from proxy.store.clock import now_us
from tests.e2e.conftest import Start
from tests.e2e.running import Running, eventually


class Receiver:
    """A webhook's other end. Refuses the first ``refusals`` requests."""

    def __init__(self, refusals: int = 0) -> None:
        self.app = FastAPI()
        self.heard: list[dict[str, Any]] = []
        self.asked = 0
        self._refusals = refusals

        @self.app.post("/hook")
        async def hook(request: Request) -> Response:
            self.asked += 1
            if self.asked <= self._refusals:
                return Response(status_code=503)
            self.heard.append(await request.json())
            return Response(status_code=204)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        await self.app(scope, receive, send)

    def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    async with serve(receiver) as url:
        yield f"{url}/hook"


def alerts(url: str) -> dict[str, Any]:
    """Settings whose loop looks often; a forecast would depend on the time of day."""
    channel = {"name": "ops", "kind": "webhook", "url": url}
    return {"every_s": 0.05, "forecast": False, "channels": [channel]}


TEAMS = [
    {"name": "search", "budgets": [{"limit_usd": "0.01", "window": "month"}]},
    {"name": "other"},
]


async def test_a_budget_that_fills_is_told_once(start: Start) -> None:
    receiver = Receiver()
    async with receiving(receiver) as url, start(teams=TEAMS, alerts=alerts(url)) as run:
        await run.chat("x" * 2000, max_tokens=2000)
        await _fill_to(run, 80)

        async def heard() -> bool:
            return bool(receiver.heard)

        await eventually(heard)
        await _look_again(run, url)

    (event,) = receiver.heard
    assert event["event"] == "budget.threshold"
    assert event["budget"]["id"] == "team:search:month"
    assert event["percent"] in (80, 100)


async def test_two_processes_tell_once(start: Start) -> None:
    """Each sees the same; the database knows who was first."""
    receiver = Receiver()
    async with receiving(receiver) as url, start(teams=TEAMS) as run:
        await _fill_to(run, 80)
        for _ in range(2):
            await _look_again(run, url)

    assert len(receiver.heard) == 1


async def _fill_to(run: Running, percent: int) -> None:
    async def full() -> bool:
        answer = await run.chat("x" * 2000, max_tokens=1000)
        budget = await run.budget()
        spent, limit = float(budget["spent_usd"]), float(budget["limit_usd"])
        return answer.status_code != 200 or spent >= limit * percent / 100

    await eventually(full, within_s=30)
    budget = await run.budget()
    assert float(budget["spent_usd"]) >= float(budget["limit_usd"]) * percent / 100


async def _look_again(run: Running, url: str) -> None:
    """As another process would."""
    house = run.app.house
    settings = AlertSettings.model_validate(alerts(url))
    queue = AlertQueue(house.database)
    other = Alerting(lambda: settings, house._watched, queue, now_us)
    await other.look(settings)
    await other.send(settings)
