"""Sessions that a client opens past Farebox: a blocking budget's policy decides about them."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, bearer

BODIES: dict[str, tuple[str, bytes]] = {
    "client_secrets": (
        "application/json",
        json.dumps({"session": {"type": "realtime", "model": "gpt-realtime"}}).encode(),
    ),
    "calls": (
        "multipart/form-data; boundary=x",
        (
            b'--x\r\ncontent-disposition: form-data; name="sdp"\r\n\r\nv=0\r\n'
            b'--x\r\ncontent-disposition: form-data; name="session"\r\n\r\n'
            b'{"type":"realtime","model":"gpt-realtime"}\r\n--x--\r\n'
        ),
    ),
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_blocking_budget_refuses_what_it_can_not_hold(start: Start, path: str) -> None:
    kind, body = BODIES[path]
    async with start() as run:
        answer = await run.client.post(
            f"/v1/realtime/{path}",
            content=body,
            headers=bearer(KEY) | {"content-type": kind},
        )

        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "call_not_bounded")
        assert run.heard.requests == 0
        assert await run.settled_cleanly() == 0


@pytest.mark.parametrize("policy", ["allow", {"reserve_usd": 5}])
async def test_where_it_is_allowed_the_call_passes(start: Start, policy: Any) -> None:
    """Its row says that what it used was used outside."""
    budget = {"limit_usd": 100, "window": "month", "unbounded": policy}
    teams = [{"name": "search", "budgets": [budget]}, {"name": "other"}]
    kind, body = BODIES["client_secrets"]
    async with start(teams=teams) as run:
        await run.client.post(
            "/v1/realtime/client_secrets",
            content=body,
            headers=bearer(KEY) | {"content-type": kind},
        )

        row = await run.only_call()
        assert run.heard.requests == 1
        assert (row["endpoint"], row["cost_usd"]) == ("realtime.outside", "0.00")
        assert row["model_requested"] == "gpt-realtime"
        assert await run.settled_cleanly() == 0
