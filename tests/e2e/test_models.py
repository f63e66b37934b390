"""GET /v1/models: what the key may use."""

import asyncio

import httpx
import openai
import pytest

from proxy.gateway import models as module
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, bearer

PATH = "/v1/models"


async def listed(run: Running, key: str = KEY) -> list[str]:
    """The ids of the list, in its order."""
    answer = await run.client.get(PATH, headers=bearer(key))
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    return [model["id"] for model in answer.json()["data"]]


async def test_the_upstreams_models_are_listed(run: Running) -> None:
    """Each as the upstream describes it, sorted by name."""
    async with httpx.AsyncClient(base_url=run.upstream) as direct:
        own = (await direct.get(PATH, headers=bearer("sk-simulated"))).json()["data"]
    answer = await run.client.get(PATH, headers=bearer(KEY))
    assert answer.json()["data"] == sorted(own, key=lambda model: str(model["id"]))


async def test_the_sdk_lists_and_retrieves(run: Running) -> None:
    """As it does at the provider; a model that is none is its NotFoundError."""
    async with run.sdk() as sdk:
        models = [model.id async for model in sdk.models.list()]
        one = await sdk.models.retrieve("gpt-4o")
        with pytest.raises(openai.NotFoundError) as caught:
            await sdk.models.retrieve("no-such-model")
    assert one.id == "gpt-4o"
    assert "gpt-5" in models
    assert caught.value.code == "model_not_found"


async def test_own_names_are_listed(start: Start) -> None:
    """A name of the configuration is a model, and one that leads nowhere is none."""
    models = [
        {"name": "fast", "targets": ["sim/gpt-4o-mini"]},
        {"name": "team/deep thought", "targets": ["sim/gpt-5"]},
        {"match": "gpt-4*", "upstream": "sim"},
    ]
    async with start(models=models) as run:
        names = await listed(run)
        one = await run.client.get(f"{PATH}/fast", headers=bearer(KEY))
        odd = await run.client.get(f"{PATH}/team/deep%20thought", headers=bearer(KEY))
    assert {"fast", "team/deep thought", "gpt-4o", "gpt-4.1-mini"} <= set(names)
    assert all(name in {"fast", "team/deep thought"} or name.startswith("gpt-4") for name in names)
    assert one.json()["id"] == "fast"
    assert odd.json()["id"] == "team/deep thought"


async def test_only_what_team_and_key_may_use(start: Start) -> None:
    """The list is the key's own: what it may not use is not there, and is not found."""
    teams = [{"name": "search", "models": ["gpt-*"]}, {"name": "other"}]
    keys = [
        {"name": "search-key", "team": "search", "key": KEY, "models": ["*-mini"]},
        {"name": "other-key", "team": "other", "key": KEY + "-other"},
    ]
    async with start(teams=teams, keys=keys) as run:
        mine, theirs = await listed(run), await listed(run, KEY + "-other")
        hidden = await run.client.get(f"{PATH}/gpt-4o", headers=bearer(KEY))
    assert set(mine) == {"gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini"}
    assert set(mine) < set(theirs)
    assert hidden.status_code == 404


async def test_an_upstream_that_is_down_hides_only_its_own(start: Start) -> None:
    """The list comes all the same, with the names that the configuration has."""
    models = [
        {"name": "fast", "targets": ["sim/gpt-4o-mini"]},
        {"match": "local-*", "upstream": "down"},
        {"match": "*", "upstream": "sim"},
    ]
    upstreams = {
        "sim": {"preset": "openai", "base_url": "{simulator}/v1", "api_key": "sk-simulated"},
        "down": {"base_url": "http://127.0.0.1:9/v1"},
    }
    async with start(models=models, upstreams=upstreams) as run:
        names = await listed(run)
    assert {"fast", "gpt-4o"} <= set(names)


async def test_the_list_is_not_asked_for_again_and_again(run: Running) -> None:
    """The upstream's list is kept for a while; asking for it costs nothing, and is no call."""
    for _ in range(3):
        await listed(run)
    assert run.heard.requests == 1
    assert await run.calls() == []


async def test_a_failure_does_not_empty_the_list(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream that answers with an error keeps the list it had, and is asked again soon."""
    monkeypatch.setattr(module, "_KEPT_S", 0.0)
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    statuses = iter((200, 503, 200))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = next(statuses)
        body = b'{"data":[{"id":"m"}]}' if status == 200 else b'{"error":{}}'
        head = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, start(sim={"base_url": f"http://127.0.0.1:{port}/v1"}) as run:
        assert [await listed(run) for _ in range(3)] == [["m"]] * 3
    assert next(statuses, None) is None
