"""Google's ``:predict`` through a running Farebox: charged by what its answer says, or the request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.heard import Heard
from tests.e2e.running import KEY, Running, bearer, config, farebox, nano

AT = "/v1/projects/p/locations/global/publishers/google/models"
ANSWERS: dict[str, Any] = {
    "text-embedding-005": {
        "predictions": [{"embeddings": {"statistics": {"token_count": 7}, "values": [0.5]}}],
        "metadata": {"billableCharacterCount": 4_000},
    },
    "gemini-embedding-001": {
        "predictions": [{"embeddings": {"statistics": {"token_count": 1_000}, "values": [0.5]}}],
    },
    "imagen-4.0-generate-001": {
        "predictions": [{"bytesBase64Encoded": "aGk="}, {"raiFilteredReason": "no"}],
    },
    "multimodalembedding@001": {"predictions": [{"imageEmbedding": [0.5]}]},
}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("text-embedding-005", {"content": "x" * 4_000}, "0.0001"),
    ("gemini-embedding-001", {"content": "x" * 4_000}, "0.00015"),
    ("imagen-4.0-generate-001", {"prompt": "a cat"}, "0.04"),
    ("multimodalembedding@001", {"image": {"bytesBase64Encoded": "aGk="}}, "0.0001"),
]


async def _predict(request: Request) -> Response:
    model = request.path_params["rest"].rpartition("/")[2].removesuffix(":predict")
    return JSONResponse(ANSWERS[model])


class Vertex(Starlette):
    """Answers what is written above."""

    def __init__(self) -> None:
        super().__init__(routes=[Route("/{rest:path}", _predict, methods=["POST"])])

    def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def begin(folder: Path, migrated: Path, limit_usd: float) -> AsyncIterator[Running]:
    """Farebox in front of Vertex, with a budget that blocks."""
    provider: Any = Vertex()
    async with serve_simulator(provider) as address:
        vertex = {"dialect": "gemini", "preset": "vertex", "base_url": address, "api_key": "x"}
        budget = {"limit_usd": limit_usd, "window": "month"}
        document = config(
            address,
            folder,
            upstreams={"sim": vertex},
            teams=[{"name": "search", "budgets": [budget]}, {"name": "other"}],
        )
        async with (
            farebox(folder, document, migrated) as (url, app),
            httpx.AsyncClient(base_url=url, headers=bearer(KEY)) as client,
        ):
            yield Running(url, address, app, Heard(create_app()), client)


@pytest.mark.parametrize(("model", "instance", "usd"), CASES)
async def test_each_is_charged_by_what_it_is_billed_by(
    tmp_path: Path, migrated: Path, model: str, instance: dict[str, Any], usd: str
) -> None:
    async with begin(tmp_path, migrated, 1) as run:
        answer = await run.client.post(f"{AT}/{model}:predict", json={"instances": [instance]})
        row = await run.only_call()

        assert answer.json() == ANSWERS[model]
        assert (row["endpoint"], row["cost_usd"], row["model_requested"]) == ("predict", usd, model)
        assert await run.settled_cleanly() == nano(usd)


async def test_what_does_not_fit_a_budget_is_refused(tmp_path: Path, migrated: Path) -> None:
    """Four pictures for 16 cents, where there are ten; two fit."""
    path = f"{AT}/imagen-4.0-generate-001:predict"
    body: dict[str, Any] = {"instances": [{"prompt": "a cat"}]}
    async with begin(tmp_path, migrated, 0.1) as run:
        refused = await run.client.post(path, json=body)
        taken = await run.client.post(path, json=body | {"parameters": {"sampleCount": 2}})

        assert refused.status_code == 429
        assert refused.json()["error"]["details"][0]["reason"] == "budget_exceeded"
        assert taken.status_code == 200
        assert await run.settled_cleanly() == nano("0.04")
