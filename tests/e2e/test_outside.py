"""What costs money and is not metered, through a running Farebox: budgets' policy decides about it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, bearer

UPSTREAMS: Config = {
    "sim": {"preset": "openai", "base_url": "{simulator}/v1"},
    "a": {"dialect": "anthropic", "base_url": "{simulator}"},
    "g": {"dialect": "gemini", "base_url": "{simulator}/v1beta"},
    "v": {"dialect": "gemini", "preset": "vertex", "base_url": "{simulator}"},
    "c": {"dialect": "cohere", "base_url": "{simulator}"},
    "b": {"dialect": "bedrock", "base_url": "{simulator}", "api_key": "x"},
}
MODELS = [
    *({"match": f"{name}-*", "upstream": name} for name in UPSTREAMS),
    {"match": "*", "upstream": "sim"},
]
P = "/v1/projects/p/locations/l"
Told = Callable[[Any], str]
CALLS: dict[str, tuple[Config, Told]] = {
    "/v1/videos": ({"model": "sora-2"}, lambda told: told["error"]["code"]),
    "/v1/threads/thread_1/runs": ({}, lambda told: told["error"]["code"]),
    "/v1/complete": ({}, lambda told: told["error"]["code"]),
    "/async-invoke": ({}, lambda told: told["reason"]),
    "/model-invocation-job": ({}, lambda told: told["reason"]),
    "/v1/classify": ({}, lambda told: told["code"]),
    "/v1beta/models/g-veo:predictLongRunning": (
        {},
        lambda told: told["error"]["details"][0]["reason"],
    ),
    f"{P}/batchPredictionJobs": ({}, lambda told: told["error"]["details"][0]["reason"]),
    f"{P}/publishers/google/models/v-veo:predictLongRunning": (
        {},
        lambda told: told["error"]["details"][0]["reason"],
    ),
}


@pytest.mark.parametrize("path", CALLS)
async def test_a_blocking_budget_refuses_what_nobody_counts(start: Start, path: str) -> None:
    """In the shape of the API that was called; nothing of it goes upstream."""
    body, code = CALLS[path]
    async with start(upstreams=UPSTREAMS, models=MODELS) as run:
        answer = await run.client.post(path, json=body, headers=bearer(KEY))

        assert answer.status_code == 400, answer.text
        assert "can't be bounded" in answer.text
        assert code(answer.json()) == "call_not_bounded"
        assert run.heard.requests == 0
        assert await run.settled_cleanly() == 0


@pytest.mark.parametrize("path", CALLS)
async def test_where_it_is_allowed_it_passes_and_its_row_says_so(start: Start, path: str) -> None:
    """Its model needs no price: that would not tell what it costs."""
    budget = {"limit_usd": 100, "window": "month", "unbounded": {"reserve_usd": 5}}
    teams = [{"name": "search", "budgets": [budget]}, {"name": "other"}]
    body, _ = CALLS[path]
    async with start(teams=teams, upstreams=UPSTREAMS, models=MODELS) as run:
        await run.client.post(path, json=body, headers=bearer(KEY))
        row = await run.only_call()

        told = (row["attempts"], row["usage_source"], row["cost_usd"], row["price_source"])
        assert told == (1, "none", "0.00", "")
        assert await run.settled_cleanly() == 0


async def test_without_a_blocking_budget_it_passes(start: Start) -> None:
    teams = [{"name": "search"}, {"name": "other"}]
    async with start(teams=teams) as run:
        await run.client.post("/v1/fine_tuning/jobs", json={"model": "x"}, headers=bearer(KEY))

        assert run.heard.requests == 1


async def test_a_method_is_what_it_says(start: Start) -> None:
    """A server that obeys an override would make a call of what is only a question here."""
    async with start() as run:
        headers = bearer(KEY) | {"x-http-method-override": "POST"}
        answer = await run.client.get("/v1/assistants/a", headers=headers)

        assert "x-http-method-override" not in [name for name, _ in answer.json()["headers"]]
