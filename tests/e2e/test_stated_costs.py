"""A provider that states what a call cost: which figure is charged, what is kept beside it, and who sees it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from proxy.ledger.reprice import Repricing
from proxy.settings import PriceOverride
from proxy.simulator import serve
from proxy.store.call_filter import CallFilter
from proxy.store.pricebook import layered_book
from proxy.store.records import Records
from proxy.store.reprice import LeftAlone
from tests.e2e import commands
from tests.e2e.running import KEY, bearer, chat_body, config, farebox

MODEL = "openai/gpt-4o-mini"  # at OpenRouter: $0.15 and $0.60 for a million tokens
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
STATED = {**USAGE, "cost": 0.000321, "is_byok": False}
BYOK = {
    **USAGE,
    "cost": 0,
    "is_byok": True,
    "cost_details": {"upstream_inference_cost": 0.00021},
}
LIST_USD = "0.00021"


class Provider:
    """Answers every call with the same usage."""

    model = MODEL

    def __init__(self, usage: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
        self.usage = usage
        self.headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
        }
        body = json.dumps(
            {
                "id": "gen-1",
                "object": "chat.completion",
                "model": self.model,
                "choices": [choice],
                "usage": self.usage,
            }
        )
        head = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body.encode()})

    def close(self) -> None:
        """Nothing to be closed."""


@asynccontextmanager
async def openrouter(
    folder: Path, migrated: Path, usage: dict[str, Any], **changes: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """Farebox before a provider that answers like OpenRouter."""
    async with serve(Provider(usage)) as upstream:
        document = config(upstream, folder, sim={"preset": "openrouter"}, **changes)
        async with (
            farebox(folder, document, migrated) as (url, app),
            httpx.AsyncClient(base_url=url, headers=bearer(KEY)) as client,
        ):
            yield client, app


async def called(client: httpx.AsyncClient) -> dict[str, Any]:
    """A call as the key that made it sees it."""
    answer = await client.post("/v1/chat/completions", json=chat_body(model=MODEL))
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = (
        await client.get(f"/farebox/v1/calls/{answer.headers['x-farebox-call-id']}")
    ).json()
    return row


def figures(row: dict[str, Any]) -> tuple[str, str, str | None, str | None]:
    return row["price_source"], row["cost_usd"], row["stated_usd"], row["list_usd"]


async def test_what_the_provider_states_is_charged_and_the_list_price_stands_beside_it(
    tmp_path: Path, migrated: Path
) -> None:
    async with openrouter(tmp_path, migrated, STATED) as (client, _):
        row = await called(client)

    assert figures(row) == ("provider", "0.000321", "0.000321", LIST_USD)


async def test_with_a_key_of_ones_own_at_openrouter_the_providers_bill_counts(
    tmp_path: Path, migrated: Path
) -> None:
    """OpenRouter then states a cost of 0, which is not what the call cost."""
    async with openrouter(tmp_path, migrated, BYOK) as (client, _):
        row = await called(client)

    assert figures(row) == ("provider", LIST_USD, LIST_USD, LIST_USD)


async def test_a_contract_outranks_what_is_stated(tmp_path: Path, migrated: Path) -> None:
    contract = [{"upstream": "sim", "input_per_mtok": "0.1", "output_per_mtok": "1"}]
    async with openrouter(tmp_path, migrated, STATED, prices=contract) as (client, _):
        row = await called(client)

    assert figures(row) == ("configuration", "0.0002", "0.000321", LIST_USD)


async def test_without_a_statement_the_list_price_is_charged(
    tmp_path: Path, migrated: Path
) -> None:
    async with openrouter(tmp_path, migrated, USAGE) as (client, _):
        row = await called(client)

    assert figures(row) == ("pricebook", LIST_USD, None, LIST_USD)


async def test_a_reprice_leaves_what_was_stated_unless_a_contract_says_otherwise(
    tmp_path: Path, migrated: Path
) -> None:
    async with openrouter(tmp_path, migrated, STATED) as (client, app):
        first = await called(client)
        database = app.house.database

        async def reprice(*rules: PriceOverride) -> Repricing:
            work = Repricing(database, layered_book(rules), {"sim": "openrouter"})
            async for _ in work.run(CallFilter()):
                pass
            return work

        same = await reprice()
        contract = await reprice(PriceOverride(input_per_mtok=Decimal(1)))
        back = await reprice()
        row = (await client.get(f"/farebox/v1/calls/{first['id']}")).json()

    assert same.tally.total.changed == 0
    assert same.tally.left == {LeftAlone.STATED: 1}
    assert contract.tally.total.difference_nano == 1_000_000 - 321_000
    assert back.tally.total.difference_nano == 321_000 - 1_000_000
    assert row["cost_usd"] == "0.000321"


async def test_a_report_and_an_export_show_both_figures(tmp_path: Path, migrated: Path) -> None:
    async with openrouter(tmp_path, migrated, STATED) as (client, _):
        row = await called(client)

    shown = commands.farebox("report", "call", row["id"], cwd=tmp_path)
    as_json = commands.farebox("report", "call", row["id"], "-f", "json", cwd=tmp_path)
    exported = commands.farebox("export", "-f", "jsonl", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert "stated" in shown.stdout
    assert "321000" in shown.stdout  # the line of the charge, in nano-dollars
    [attempt] = json.loads(as_json.stdout)["attempt_rows"]
    assert (attempt["stated_usd"], attempt["list_usd"]) == ("0.000321", LIST_USD)
    assert attempt["charge"] == [
        {"what": "stated", "quantity": 1, "price_nano_usd": "321000", "model": ""}
    ]
    [line] = [json.loads(text) for text in exported.stdout.splitlines()]
    assert (line["stated_usd"], line["list_usd"]) == ("0.000321", LIST_USD)


# What an endpoint says of its prices


async def charged_at(
    folder: Path, migrated: Path, variants: list[str], *headers: tuple[bytes, bytes]
) -> tuple[dict[str, Any], list[str]]:
    """What a call of Azure's GPT-4o costs, and the flags of its attempt."""
    sim = {"preset": "azure", "price_variants": variants}
    provider = Provider(USAGE, *headers)
    provider.model = "gpt-4o-2024-08-06"
    async with serve(provider) as upstream:
        document = config(upstream, folder, sim=sim)
        async with (
            farebox(folder, document, migrated) as (url, app),
            httpx.AsyncClient(base_url=url, headers=bearer(KEY)) as client,
        ):
            answer = await client.post("/v1/chat/completions", json=chat_body(model="gpt-4o"))
            call_id = answer.headers["x-farebox-call-id"]
            row = (await client.get(f"/farebox/v1/calls/{call_id}")).json()
            detail = await Records(app.house.database).call(call_id)
            assert detail is not None
            same = Repricing(app.house.database, layered_book([]), {"sim": "azure"})
            async for _ in same.run(CallFilter()):
                pass
    assert same.tally.total.changed == 0  # rated alike, from what the row says
    return row, detail.attempt_rows[0].flags


async def test_a_data_zone_costs_more(tmp_path: Path, migrated: Path) -> None:
    row, flags = await charged_at(tmp_path, migrated, ["eu"])

    assert (row["price_source"], row["cost_usd"]) == ("pricebook", "0.00385")
    assert flags == ["variant=eu"]


async def test_provisioned_capacity_is_not_billed_by_the_token(
    tmp_path: Path, migrated: Path
) -> None:
    row, flags = await charged_at(tmp_path, migrated, ["provisioned_throughput"])

    assert (row["price_source"], row["cost_usd"]) == ("pricebook", "0.00")
    assert (row["input_tokens"], row["output_tokens"]) == (1_000, 100)
    assert flags == ["variant=provisioned_throughput"]


async def test_what_provisioned_capacity_could_not_take_is_billed_by_the_token(
    tmp_path: Path, migrated: Path
) -> None:
    spilled = (b"x-ms-is-spilled-over", b"true")
    row, flags = await charged_at(tmp_path, migrated, ["provisioned_throughput", "us"], spilled)

    assert row["cost_usd"] == "0.00385"
    assert flags == ["variant=us", "spilled_over"]
