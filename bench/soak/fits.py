"""Very many calls at once at a budget that fits some of them: exactly those are admitted.

What a call holds and what it costs is asked first, of Farebox itself: the refusal of a call by a
budget that is far too small names the most that it may cost, and a call without a budget has a price.
The limit is then such that the last call fits only just, once the others have settled.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from bench.soak.config import ADMIN_TOKEN
from bench.soak.plan import Plan
from bench.soak.raw import RawClient
from bench.soak.soak import Outcome, Stage, settle_up, stage, watching
from bench.soak.traffic import Kind, Tally
from proxy.core.money import NANO_PER_USD

_WAIT_S = 20.0  # for the holds of others to settle
_OUTPUT = 40
_CALL = Kind("one of very many")
_MOST = re.compile(r"this call may cost up to \$([\d.]*\d)")
_KEYS = {
    team: f"fb-soak-{team}-0123456789abcdef0123456789abcdef" for team in ("free", "poor", "crowd")
}


@dataclass(slots=True)
class Fits:
    """What came of it."""

    calls: int
    fit: int
    answers: Counter[str]
    limit_nano: int
    hold_nano: int
    cost_nano: int
    outcome: Outcome

    def failures(self) -> list[str]:
        """What must not be."""
        wanted = Counter({"200": self.fit, "429 budget_exceeded": self.calls - self.fit})
        unlike = (
            [] if self.answers == wanted else [f"answered {dict(self.answers)}, not {dict(wanted)}"]
        )
        return unlike + self.outcome.failures()


async def fits(plan: Plan, folder: Path, calls: int, fit: int) -> Fits:
    """So many calls at once, over all replicas, at a budget that fits ``fit`` of them."""
    teams = [{"name": "free"}, {"name": "poor", "budgets": [_total("0.000001")]}]
    changes: dict[str, Any] = {
        "teams": [*teams, {"name": "crowd", "budgets": [_total("0.000001")]}],
        "organisations": [],
        "budgets": [],
        "keys": [{"name": team, "team": team, "key": key} for team, key in _KEYS.items()],
        "ledger": {"lease_s": plan.lease_s, "hold_wait_s": _WAIT_S},
    }
    async with stage(plan, folder, **changes) as it, watching(it.watch):
        cost_nano, hold_nano = await _cost(it), await _hold(it)
        limit_nano = (fit - 1) * cost_nano + hold_nano
        await _set_limit(it, limit_nano)
        answers = await _all_at_once(it, calls)
        outcome = await settle_up(it, Tally(), {})
    return Fits(calls, fit, answers, limit_nano, hold_nano, cost_nano, outcome)


def _total(limit_usd: str) -> dict[str, str]:
    return {"limit_usd": limit_usd, "window": "total"}


def _body(number: int) -> dict[str, Any]:
    marker = f"[[sim: output_tokens={_OUTPUT}, first_byte_ms=200]]"
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": f"water river morning light {marker}"}],
        "max_completion_tokens": _OUTPUT,
        "user": f"fits.{number:06}",
    }


def _client(it: Stage, number: int = 0) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    url = it.replicas[number % len(it.replicas)].url
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


async def _cost(it: Stage) -> int:
    async with _client(it) as client:
        headers = {"authorization": f"Bearer {_KEYS['free']}", "x-farebox-run": "fits.000000"}
        answer = await client.post("/v1/chat/completions", json=_body(0), headers=headers)
        return _nano(answer.headers["x-farebox-cost-usd"])


async def _hold(it: Stage) -> int:
    async with _client(it) as client:
        headers = {"authorization": f"Bearer {_KEYS['poor']}"}
        answer = await client.post("/v1/chat/completions", json=_body(0), headers=headers)
        said = _MOST.search(answer.json()["error"]["message"])
        assert said is not None, answer.text  # noqa: S101 - a part of what is shown here
        return _nano(said[1])


async def _set_limit(it: Stage, limit_nano: int) -> None:
    usd = Decimal(limit_nano) / NANO_PER_USD
    async with _client(it) as client:
        body = {"id": "team:crowd:total", "limit_usd": f"{usd:f}"}
        (await client.put("/admin/v1/budgets", json=body)).raise_for_status()


async def _all_at_once(it: Stage, calls: int) -> Counter[str]:
    async def one(number: int) -> str:
        replica = it.replicas[number % len(it.replicas)]
        headers = {"x-farebox-run": f"fits.{number:06}"}
        client = RawClient()
        try:
            return await client.ask(
                replica.place.port, _CALL, _KEYS["crowd"], headers, _body(number), 0
            )
        finally:
            client.close()

    return Counter(await asyncio.gather(*(one(number) for number in range(1, calls + 1))))


def _nano(usd: str) -> int:
    return int(Decimal(usd) * NANO_PER_USD)
