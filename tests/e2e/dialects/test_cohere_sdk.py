"""Cohere's own SDK through Farebox: it gets what it gets without it, and the ledger has what is billed."""

from typing import Any

import cohere
import pytest
from cohere.core.api_error import ApiError

from tests.e2e.dialects.conftest import PROVIDERS_KEY, Begin
from tests.e2e.dialects.upstream import Answer, Upstream, document, events, lines
from tests.e2e.running import KEY, bearer, nano

USAGE = {
    "billed_units": {"input_tokens": 4, "output_tokens": 5},
    "tokens": {"input_tokens": 70, "output_tokens": 6},
    "cached_tokens": 64,
}
META = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}}
SEARCHED = {"api_version": {"version": "2"}, "billed_units": {"search_units": 2}}
V1_META = {"api_version": {"version": "1"}, "billed_units": USAGE["billed_units"]}
SAID = {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}
ASKED: dict[str, Any] = {
    "model": "command-a-03-2025",
    "messages": [{"role": "user", "content": "Say hello"}],
}


def event(kind: str, **said: Any) -> dict[str, Any]:
    return {"type": kind, **said}


def provider() -> Upstream:
    started = {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [],
                           "citations": []}}  # fmt: skip
    stream = events(
        event("message-start", id="c-1", delta=started),
        event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
        event("content-delta", index=0, delta={"message": {"content": {"text": "Hello."}}}),
        event("content-end", index=0),
        event("message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE}),
    )  # fmt: skip
    response = {"response_id": "r", "generation_id": "g-1", "text": "Hello.", "meta": V1_META,
                "finish_reason": "COMPLETE", "chat_history": []}  # fmt: skip
    older = lines(
        {"is_finished": False, "event_type": "stream-start", "generation_id": "g-1"},
        {"is_finished": False, "event_type": "text-generation", "text": "Hello."},
        {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": response},
        content_type="application/stream+json",
    )  # fmt: skip
    done = Answer((*stream.pieces, b"data: [DONE]\n\n"), stream.content_type)
    ranked = [{"index": 1, "relevance_score": 0.9}]
    embedded = {"id": "e-1", "embeddings": {"float": [[0.1]]}, "texts": ["a"], "meta": META,
                "response_type": "embeddings_by_type"}  # fmt: skip
    return Upstream(
        {
            ("/v2/chat", False): document(id="c-1", message=SAID, finish_reason="COMPLETE", usage=USAGE),
            ("/v2/chat", True): done,
            ("/v2/embed", False): document(**embedded),
            ("/v2/rerank", False): document(id="s-1", results=ranked, meta=SEARCHED),
            ("/v1/chat", False): document(**response),
            ("/v1/chat", True): older,
        }
    )  # fmt: skip


def sdk(address: str, key: str = KEY) -> cohere.AsyncClientV2:
    return cohere.AsyncClientV2(base_url=address, api_key=key)


async def everything(address: str, key: str) -> list[Any]:
    """What a client gets, of all kinds."""
    async with sdk(address, key) as client:
        chat = await client.chat(**ASKED)
        stream = [e.model_dump() async for e in client.chat_stream(**ASKED)]
        embedded = await client.embed(
            model="embed-v4.0", input_type="search_document", texts=["a"], embedding_types=["float"]
        )
        ranked = await client.rerank(model="rerank-v3.5", query="q", documents=["a", "b"])
    async with cohere.AsyncClient(base_url=address, api_key=key) as older:
        chat_v1 = await older.chat(model="command-a-03-2025", message="Say hello")
        stream_v1 = [
            e.model_dump()
            async for e in older.chat_stream(model="command-a-03-2025", message="Say hello")
        ]
    found = (chat, embedded, ranked, chat_v1)
    return [*(f.model_dump() for f in found), stream, stream_v1]


async def test_the_sdk_gets_what_it_gets_without_farebox(begin: Begin) -> None:
    """All endpoints, streamed and not; the rows have what is billed, and not what was tokenized."""
    async with begin(provider()) as both:
        through = await everything(both.here, KEY)
        assert through == await everything(both.there, PROVIDERS_KEY)
        assert len(through[4]) == 5
        assert len(through[5]) == 3

        rows = await both.run.calls()
        assert [
            (r["endpoint"], r["stream"], r["input_tokens"], r["output_tokens"], nano(r["cost_usd"]))
            for r in rows
        ] == [
            ("chat", False, 4, 5, 54_000),
            ("chat", True, 4, 5, 54_000),
            ("embed", False, 7, 0, 7_000),
            ("rerank", False, 0, 0, 20_000_000),
            ("chat", False, 4, 5, 54_000),
            ("chat", True, 4, 5, 54_000),
        ]
        assert {r["usage_source"] for r in rows} == {"provider"}
        assert [r["upstream_call_id"] for r in rows] == ["c-1", "c-1", "e-1", "s-1", "g-1", "g-1"]
        assert {h.headers["authorization"] for h in both.upstream.heard} == {
            f"Bearer {PROVIDERS_KEY}"
        }


async def test_a_budget_refuses_in_the_sdks_own_class(begin: Begin, poor: dict[str, Any]) -> None:
    """It tries every 429 again, whatever the answer says of that: so its retries are told off, here."""
    async with begin(provider(), **poor) as both:
        async with sdk(both.here) as client:
            with pytest.raises(ApiError) as refused:
                await client.chat(**ASKED, request_options={"max_retries": 0})
        assert refused.value.status_code == 429
        assert "team:search:month" in refused.value.body["message"]
        assert both.upstream.heard == []
        rows = await both.run.calls()
        assert [(r["outcome"], r["status"]) for r in rows] == [("refused", 429)]


async def test_the_providers_errors_go_through_unchanged(begin: Begin) -> None:
    wrong = Answer((b'{"id":"x","message":"invalid request"}',), status=400)
    async with begin(Upstream({("/v2/chat", False): wrong})) as both:
        bodies = []
        for address, key in ((both.here, KEY), (both.there, PROVIDERS_KEY)):
            async with sdk(address, key) as client:
                with pytest.raises(cohere.BadRequestError) as refused:
                    await client.chat(**ASKED)
            bodies.append(refused.value.body)
        assert bodies[0] == bodies[1]


async def test_a_cap_is_added_where_there_is_no_limit(begin: Begin) -> None:
    async with begin(provider(), defaults={"max_output_tokens": 16}) as both:
        async with sdk(both.here) as client:
            await client.chat(**ASKED)
        assert both.upstream.heard[0].body["max_tokens"] == 16


async def test_a_server_of_openais_api_may_serve_rerank_too(begin: Begin) -> None:
    """vLLM's, which answers with OpenAI's usage."""
    answer = document(id="r", results=[], usage={"prompt_tokens": 7, "total_tokens": 7})
    rules = [{"match": "*", "upstream": "openai"}]
    async with begin(Upstream({("/v1/rerank", False): answer}), models=rules) as both:
        body = {"model": "bge-reranker", "query": "q", "documents": ["a"]}
        said = await both.run.client.post("/v1/rerank", json=body, headers=bearer(KEY))
        assert (said.status_code, both.upstream.heard[0].path) == (200, "/v1/rerank")
        assert (await both.run.only_call())["input_tokens"] == 7
