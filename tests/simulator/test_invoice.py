"""The simulator's own invoice."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.simulator import Outcome, create_app
from proxy.simulator.invoice import Charge, Invoice
from tests.simulator.provider import Provider


async def test_a_call_is_billed_by_hand(provider: Provider) -> None:
    """Tokens × list price, with cached tokens at theirs and hidden ones as completion."""
    marker = "[[sim: prompt_tokens=1000, cached_tokens=400, output_tokens=30, reasoning_tokens=20]]"

    answer = (await provider.chat(marker, user="someone")).json()

    line = provider.line
    assert line.cost_nano == 600 * 2500 + 400 * 1250 + 50 * 10_000
    assert (
        line.prompt_tokens,
        line.cached_tokens,
        line.completion_tokens,
        line.reasoning_tokens,
    ) == (1000, 400, 50, 20)
    assert answer["id"] == line.completion_id
    assert (
        line.model_requested,
        line.model,
        line.tier,
    ) == ("gpt-4o", "gpt-4o-2024-08-06", "default")
    assert (
        line.status,
        line.outcome,
        line.client_left,
        line.user,
    ) == (200, Outcome.COMPLETED, False, "someone")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_reported_is_billed(provider: Provider, stream: bool) -> None:
    fields: dict[str, Any] = {"n": 3, "model": "gpt-5-mini", "max_completion_tokens": 70}
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}

    response = await provider.chat("[[sim: output_tokens=40, cached_tokens=5]]", **fields)

    if stream:
        usage = json.loads(response.text.split("\n\n")[-3].removeprefix("data: "))["usage"]
    else:
        usage = response.json()["usage"]
    line = provider.line
    assert 3 * 70 == usage["completion_tokens"] == line.completion_tokens
    assert 3 * 64 == usage["completion_tokens_details"]["reasoning_tokens"] == line.reasoning_tokens
    assert usage["prompt_tokens"] == line.prompt_tokens
    assert 5 == usage["prompt_tokens_details"]["cached_tokens"] == line.cached_tokens
    assert (line.prompt_tokens - 5) * 250 + 5 * 25 + 210 * 2000 == line.cost_nano


@pytest.mark.parametrize(
    ("asked", "marker", "served", "nano_per_token"),
    [
        ("priority", "", "priority", 20_000),
        ("flex", "", "flex", 5000),
        ("auto", "", "default", 10_000),
        ("priority", "tier=default", "default", 10_000),
        (None, "tier=flex", "flex", 5000),
    ],
)
async def test_the_tier_that_served_is_billed(
    provider: Provider, asked: str | None, marker: str, served: str, nano_per_token: int
) -> None:
    prompt = f"[[sim: prompt_tokens=0, output_tokens=1, reasoning_tokens=0, {marker}]]"

    answer = (await provider.chat(prompt, model="gpt-5", service_tier=asked)).json()

    assert served == answer["service_tier"] == provider.line.tier
    assert nano_per_token == provider.line.cost_nano


async def test_errors_cost_nothing(provider: Provider) -> None:
    await provider.chat("[[sim: status=500]]")
    await provider.chat(n=0)
    await provider.chat(model="nobody")

    assert [(line.status, line.cost_nano) for line in provider.app.invoice.lines] == [
        (500, 0),
        (400, 0),
        (404, 0),
    ]
    assert {Outcome.ERROR} == {line.outcome for line in provider.app.invoice.lines}


async def test_embeddings_are_billed(provider: Provider) -> None:
    """0.02 dollars per million tokens."""
    body = {"model": "text-embedding-3-small", "input": ["Hello there", [1, 2, 3]]}

    answer = (await provider.client.post("/v1/embeddings", json=body)).json()

    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert (
        provider.line.prompt_tokens,
        provider.line.completion_tokens,
        provider.line.cost_nano,
    ) == (5, 0, 100)


async def test_is_read_in_pages(provider: Provider) -> None:
    """A number is never used again, also once the lines before it are gone."""
    client = provider.client
    for _ in range(3):
        await provider.chat()
    first = (await client.get("/simulator/invoice?limit=2")).json()
    rest = (await client.get(f"/simulator/invoice?since={first['next_since']}")).json()
    await client.delete("/simulator/invoice")
    await provider.chat()
    again = (await client.get("/simulator/invoice?since=2")).json()

    assert [item["number"] for item in first["items"]] == [1, 2]
    assert [item["number"] for item in rest["items"]] == [3]
    assert rest["next_since"] is None
    assert rest["count"] == 3
    assert sum(i["cost_nano"] for i in first["items"] + rest["items"]) == rest["total_nano"]
    assert [item["number"] for item in again["items"]] == [4]


async def test_a_wrong_page_is_refused(provider: Provider) -> None:
    response = await provider.client.get("/simulator/invoice?since=x")

    assert response.status_code == 400


def test_each_line_is_in_the_file_at_once(tmp_path: Path) -> None:
    """The file holds what ``page`` shows, and is appended to by the next invoice."""
    file = tmp_path / "invoice.jsonl"
    invoice = Invoice(file)
    invoice.open("req_1", 1.5, "/v1/x").write(200, Outcome.COMPLETED, Charge(cost_nano=7))
    seen = [json.loads(line) for line in file.read_text().splitlines()]
    page = invoice.page(0, 10)
    invoice.close()
    other = create_app(invoice_file=file).invoice
    other.open("req_2", 2.5, "/v1/x").write(500, Outcome.ERROR)
    other.close()

    assert seen == page["items"]
    assert [json.loads(line)["request_id"] for line in file.read_text().splitlines()] == [
        "req_1",
        "req_2",
    ]


def test_a_line_is_written_once() -> None:
    invoice = Invoice()
    ticket = invoice.open("req_1", 0, "/v1/x")

    ticket.write(200, Outcome.COMPLETED, Charge(cost_nano=7))
    ticket.write(0, Outcome.CLIENT_LEFT)

    assert [(x.outcome, x.cost_nano) for x in invoice.lines] == [(Outcome.COMPLETED, 7)]
    assert invoice.total_nano == 7
