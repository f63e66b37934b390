"""Anthropic's own SDK through Farebox: it gets what it gets without it, and the ledger has what it used."""

import asyncio
from typing import Any

import anthropic
import httpx
import pytest

from tests.e2e.dialects.conftest import PROVIDERS_KEY, Begin
from tests.e2e.dialects.upstream import Answer, Upstream, document, events
from tests.e2e.running import KEY, Row, nano

USAGE = {
    "input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 1,
    "service_tier": "standard",
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-6",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
TEXT = {"type": "text", "text": "Hello there."}
NANO = 20_000 + 10_000 + 2 * 10_000 + 4 * 20_000 + 9 * 10_000  # at the prices of the fixture


def delta(text: str) -> dict[str, Any]:
    said = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": 0, "delta": said}


STREAM = (
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    delta("Hello"),
    delta(" there."),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}},
    {"type": "message_stop"},
)  # fmt: skip
REFUSED = Answer(
    (b'{"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"r"}',),
    status=400,
)
ASKED: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Say hello"}],
    "metadata": {"user_id": "ann"},
}


def provider() -> Upstream:
    whole = MESSAGE | {"content": [TEXT], "stop_reason": "end_turn",
                       "usage": USAGE | {"output_tokens": 9}}  # fmt: skip
    models = document(data=[{"id": "claude-sonnet-4-6", "type": "model", "display_name": "Sonnet",
                             "created_at": "2026-02-17T00:00:00Z"}], has_more=False)  # fmt: skip
    return Upstream(
        {
            ("/v1/messages", False): document(**whole),
            ("/v1/messages", True): events(*STREAM),
            ("/v1/messages/count_tokens", False): document(input_tokens=11),
            ("/v1/models", False): models,
        }
    )


def sdk(address: str, key: str = KEY) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=address, api_key=key)


async def everything(client: anthropic.AsyncAnthropic) -> tuple[Any, ...]:
    """What a client gets, of all kinds."""
    message = await client.messages.create(**ASKED)
    stream = [e.model_dump() async for e in await client.messages.create(**ASKED, stream=True)]
    async with client.messages.stream(**ASKED) as helped:
        final = await helped.get_final_message()
    counted = await client.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"])
    models = [model.id async for model in client.models.list()]
    return message.model_dump(), stream, final.model_dump(), counted.input_tokens, models


def billed(row: Row) -> tuple[Any, ...]:
    return (
        row["endpoint"],
        row["usage_source"],
        row["input_tokens"],
        row["cached_tokens"],
        row["cache_write_tokens"],
        row["output_tokens"],
        row["reasoning_tokens"],
        nano(row["cost_usd"]),
    )


async def test_the_sdk_gets_what_it_gets_without_farebox(begin: Begin) -> None:
    """Whole and streamed, with a count of tokens and the list of models; the rows have the usage."""
    async with begin(provider()) as both:
        async with sdk(both.here) as here, sdk(both.there, PROVIDERS_KEY) as there:
            assert await everything(here) == await everything(there)

        rows = await both.run.calls()
        assert [billed(r) for r in rows[:3]] == [
            ("messages", "provider", 150, 100, 30, 9, 0, NANO),
            ("messages", "provider", 150, 100, 30, 9, 4, NANO),
            ("messages", "provider", 150, 100, 30, 9, 4, NANO),
        ]
        assert {(r["user"], r["model_served"], r["upstream_call_id"]) for r in rows[:3]} == {
            ("ann", "claude-sonnet-4-6", "msg_1")
        }
        assert [(r["endpoint"], r["usage_source"]) for r in rows[3:]] == [
            ("messages.count_tokens", "none"),
            ("models", "none"),
        ]
        assert await both.run.settled_cleanly() == 3 * NANO


async def test_the_providers_key_goes_upstream_and_farebox_key_does_not(begin: Begin) -> None:
    async with begin(provider()) as both:
        async with sdk(both.here) as client:
            await client.messages.create(**ASKED)
        heard = both.upstream.heard[0]
        assert heard.headers["x-api-key"] == PROVIDERS_KEY
        assert KEY not in str(heard)
        assert heard.body == ASKED


async def test_a_budget_refuses_in_the_sdks_own_class_and_once(
    begin: Begin, poor: dict[str, Any]
) -> None:
    async with begin(provider(), **poor) as both:
        async with sdk(both.here) as client:
            with pytest.raises(anthropic.RateLimitError) as refused:
                await client.messages.create(**ASKED)
        body: Any = refused.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "billing_error")
        assert "team:search:month" in body["error"]["message"]
        assert both.upstream.heard == []
        assert [r["outcome"] for r in await both.run.calls()] == ["refused"]


async def test_an_unknown_key_is_an_authentication_error(begin: Begin) -> None:
    async with begin(provider()) as both:
        async with sdk(both.here, "fb-sk-nobody") as client:
            with pytest.raises(anthropic.AuthenticationError) as refused:
                await client.messages.create(**ASKED)
        body: Any = refused.value.body
        assert body["error"]["type"] == "authentication_error"


async def test_a_request_that_no_body_bounds_is_refused_under_a_blocking_budget(
    begin: Begin,
) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    async with begin(provider()) as both:
        async with sdk(both.here) as client:
            with pytest.raises(anthropic.BadRequestError, match="tool web_search_20250305"):
                await client.messages.create(**ASKED, tools=[search])
        assert both.upstream.heard == []


async def test_the_providers_errors_go_through_unchanged(begin: Begin) -> None:
    async with begin(Upstream({("/v1/messages", False): REFUSED})) as both:
        seen = []
        for address, key in ((both.here, KEY), (both.there, PROVIDERS_KEY)):
            async with sdk(address, key) as client:
                with pytest.raises(anthropic.BadRequestError) as refused:
                    await client.messages.create(**ASKED)
            seen.append((refused.value.body, refused.value.request_id))
        assert seen[0] == seen[1]
        row = (await both.run.calls())[0]
        assert (row["status"], row["cost_usd"]) == (400, "0.00")


async def test_a_cap_is_written_where_the_limit_stands(begin: Begin) -> None:
    async with begin(provider(), defaults={"max_output_tokens": 16}) as both:
        async with sdk(both.here) as client:
            message = await client.messages.with_raw_response.create(**ASKED)
        assert message.headers["x-farebox-output-cap"] == "16; source=default"
        assert both.upstream.heard[0].body == ASKED | {"max_tokens": 16}


async def test_a_client_that_leaves_is_charged_its_exact_input(begin: Begin) -> None:
    """The output is counted: what came of it, in Claude's own tokens."""
    upstream = provider()
    upstream.stuck = asyncio.Event()
    async with begin(upstream) as both:
        async with (
            httpx.AsyncClient(base_url=both.here) as client,
            client.stream(
                "POST", "/v1/messages", json=ASKED | {"stream": True}, headers={"x-api-key": KEY}
            ) as answer,
        ):
            async for _ in answer.aiter_bytes():
                break
        row = await both.run.only_call()
        upstream.stuck.set()
        assert (row["outcome"], row["usage_source"]) == ("client_left", "counted")
        assert (row["input_tokens"], row["cached_tokens"]) == (150, 100)


async def test_other_servers_of_this_api_are_metered_too(begin: Begin) -> None:
    """Ollama's, at the place of its OpenAI paths; a start without counts is made up for."""
    nothing = {"input_tokens": 0, "output_tokens": 0}
    start = {"type": "message_start", "message": MESSAGE | {"model": "qwen3", "usage": nothing}}
    upstream = Upstream({("/v1/messages", True): events(start, *STREAM[1:])})
    async with begin(upstream) as both:
        async with sdk(both.here) as client:
            asked = ASKED | {"model": "qwen3"}
            said = [event async for event in await client.messages.create(**asked, stream=True)]
            assert len(said) == len(STREAM) - 1  # the SDK keeps the ping to itself
        assert upstream.heard[0].path == "/v1/messages"
        row = await both.run.only_call()
        assert (row["upstream"], row["usage_source"], row["output_tokens"]) == (
            "ollama",
            "counted",
            9,
        )
        assert row["input_tokens"] > 0


@pytest.mark.parametrize("base", ["", "/v1"])
async def test_the_base_url_may_be_the_bare_host(begin: Begin, base: str) -> None:
    """As Anthropic's SDKs have it, or with the prefix, as OpenAI's."""
    async with begin(provider(), bases={"anthropic": base}) as both:
        async with sdk(both.here) as client:
            await client.messages.create(**ASKED)
        assert [heard.path for heard in both.upstream.heard] == ["/v1/messages"]
