"""Ollama's own SDK through Farebox: it gets what it gets without it, and the ledger has what it used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest

from tests.e2e.dialects.conftest import PROVIDERS_KEY, Begin
from tests.e2e.dialects.upstream import Answer, Upstream, document, lines
from tests.e2e.running import KEY, bearer, nano

HEAD = {"model": "qwen3", "created_at": "2026-08-07T06:08:07.590207Z"}
DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 4, "eval_count": 5}
MESSAGES = [{"role": "user", "content": "Say hello"}]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {**HEAD, "message": {"role": "assistant", "content": text}, "done": False, **more}


def made(text: str, **more: Any) -> dict[str, Any]:
    return {**HEAD, "response": text, "done": False, **more}


def provider() -> Upstream:
    cached = {k: v for k, v in DONE.items() if k != "prompt_eval_count"}
    return Upstream(
        {
            ("/api/chat", False): document(**said("Hello.", **DONE)),
            ("/api/chat", True): lines(said("Hel"), said("lo."), said("", **DONE)),
            ("/api/generate", False): document(**made("Hello.", **DONE)),
            ("/api/generate", True): lines(made("Hello."), made("", **cached)),
            ("/api/embed", False): document(model="qwen3", embeddings=[[0.5]], prompt_eval_count=7),
            ("/api/tags", False): document(models=[]),
        }
    )


@asynccontextmanager
async def sdk(address: str, key: str = KEY) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=address, headers=bearer(key))
    try:
        yield client
    finally:
        await client.close()  # type: ignore[no-untyped-call]


async def everything(address: str, key: str) -> list[Any]:
    """What a client gets, of all kinds."""
    async with sdk(address, key) as client:
        found: list[Any] = [await client.chat("qwen3", MESSAGES)]
        found += [part async for part in await client.chat("qwen3", MESSAGES, stream=True)]
        found.append(await client.generate("qwen3", "Say hello"))
        found += [part async for part in await client.generate("qwen3", "Say hello", stream=True)]
        found.append(await client.embed("qwen3", "a"))
        found.append(await client.list())
    return [part.model_dump() for part in found]


async def test_the_sdk_gets_what_it_gets_without_farebox(begin: Begin) -> None:
    """All endpoints, streamed and not; a side that the answer leaves out is counted."""
    async with begin(provider()) as both:
        through = await everything(both.here, KEY)
        assert through == await everything(both.there, PROVIDERS_KEY)

        rows = await both.run.calls()
        assert [
            (r["endpoint"], r["stream"], r["usage_source"], r["output_tokens"]) for r in rows
        ] == [
            ("chat", False, "provider", 5),
            ("chat", True, "provider", 5),
            ("generate", False, "provider", 5),
            ("generate", True, "counted", 5),
            ("embed", False, "provider", 0),
            ("other", False, "none", 0),
        ]
        assert [r["input_tokens"] for r in rows] == [4, 4, 4, 2, 7, 0]
        assert nano(rows[0]["cost_usd"]) == 54_000
        flags = (await both.run.attempts(rows[3]["id"]))[0]["flags"]
        assert "input_counted" in flags


async def test_a_cap_is_spliced_in_where_there_is_no_limit(begin: Begin) -> None:
    async with begin(provider(), defaults={"max_output_tokens": 16}) as both:
        async with sdk(both.here) as client:
            await client.generate("qwen3", "Say hello", options={"seed": 1})
        assert both.upstream.heard[0].body["options"] == {"seed": 1, "num_predict": 16}


async def test_a_budget_refuses_in_the_sdks_own_class_and_once(
    begin: Begin, poor: dict[str, Any]
) -> None:
    async with begin(provider(), **poor) as both:
        async with sdk(both.here) as client:
            with pytest.raises(ollama.ResponseError, match="team:search:month") as refused:
                await client.chat("qwen3", MESSAGES)
        assert refused.value.status_code == 429
        assert both.upstream.heard == []
        assert len(await both.run.calls()) == 1


async def test_the_servers_errors_go_through_unchanged(begin: Begin) -> None:
    wrong = Answer((b'{"error":"model \\"qwen3\\" not found"}',), status=404)
    async with begin(Upstream({("/api/chat", False): wrong})) as both:
        async with sdk(both.here) as client:
            with pytest.raises(ollama.ResponseError, match='model "qwen3" not found') as refused:
                await client.chat("qwen3", MESSAGES)
        assert refused.value.status_code == 404
