"""The database goes away under load, and comes back."""

import asyncio
import contextlib
from pathlib import Path

from bench.soak.config import STEADY
from bench.soak.faults import Say
from bench.soak.plan import Plan
from bench.soak.soak import Outcome, settle_up, stage, watching
from bench.soak.traffic import Client, Kind, Tally

_ANSWERS = 20  # before and after, so that there is a load to hurt, and it is seen to go on
_WITHIN_S = 60.0
_REFUSED_WITHIN_S = 1.0
_KINDS = (Kind("json"), Kind("stream", stream=True), Kind("slow", sim="event_ms=20", stream=True))


async def outage(plan: Plan, folder: Path, away_s: float, say: Say) -> Outcome:
    """Stop the database for so long. Calls are plain ones: whatever fails is Farebox's doing."""
    tally = Tally()
    async with stage(plan, folder, budgets=[]) as it, watching(it.watch):
        stop = asyncio.Event()
        clients = [
            Client(plan, it.replicas, tally, number, _KINDS, teams=(STEADY,))
            for number in range(plan.clients)
        ]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(stop))
            await _answered(tally, _ANSWERS)
            say(f"the database stops for {away_s:g} s")
            await it.home.restart(away_s)
            say("it is back")
            await _answered(tally, tally.answers["200"] + _ANSWERS)
            stop.set()
        return await settle_up(it, tally, {"database away, s": round(away_s)})


async def _answered(tally: Tally, calls: int) -> None:
    """Return when so many calls were answered well, or none will be: then the table shows it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WITHIN_S):
            while tally.answers["200"] < calls:  # noqa: ASYNC110 - counted by many clients
                await asyncio.sleep(0.05)


def failures(outcome: Outcome) -> list[str]:
    """What must not be: an error where calls are allowed, a slow one where they are refused."""
    found = outcome.failures()
    other = set(outcome.tally.answers) - {"200"}
    if outcome.tally.answers["200"] < 2 * _ANSWERS:
        found.append("too few calls were answered before or after")
    if outcome.plan.unavailable == "allow" and other:
        found.append(f"clients saw {sorted(other)} though calls are allowed")
    if outcome.slowest_refusal_s >= _REFUSED_WITHIN_S:
        found.append(f"a refusal took {outcome.slowest_refusal_s:.2f} s")
    return found
