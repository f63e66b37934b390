"""Serving: beside another server, alone as a program, and to the end."""

import asyncio
import json
import logging
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
import pytest

from proxy.simulator import API_KEY, Outcome, create_app, serve
from tests.simulator.provider import chat_body

KEY = {"authorization": f"Bearer {API_KEY}"}


async def test_takes_no_signals_and_changes_no_logging() -> None:
    """It lives beside a server that has its own of both."""
    before = signal.getsignal(signal.SIGTERM), logging.getLogger("uvicorn.access").propagate

    async with serve(create_app()):
        during = signal.getsignal(signal.SIGTERM), logging.getLogger("uvicorn.access").propagate

    assert before == during


async def test_two_have_an_invoice_each() -> None:
    one, other = create_app(), create_app()
    async with serve(one) as here, serve(other) as there, httpx.AsyncClient(headers=KEY) as client:
        await client.post(f"{here}/v1/chat/completions", json=chat_body())
        await client.post(f"{there}/v1/anything")

    assert [line.endpoint for line in one.invoice.lines] == ["/v1/chat/completions"]
    assert [line.endpoint for line in other.invoice.lines] == ["/v1/anything"]


async def test_what_is_under_way_is_billed_at_the_end() -> None:
    app = create_app()
    body = chat_body("[[sim: output_tokens=500, event_ms=10]]", stream=True)
    async with httpx.AsyncClient(headers=KEY) as client:
        async with serve(app) as address:
            request = client.build_request("POST", f"{address}/v1/chat/completions", json=body)
            response = await client.send(request, stream=True)
            incoming = response.aiter_raw()
            await anext(incoming)
            await anext(incoming)
        await response.aclose()

    (line,) = app.invoice.lines
    assert line.outcome == Outcome.CLIENT_LEFT
    assert 1 <= line.completion_tokens < 500


async def test_nothing_listens_after_the_end() -> None:
    async with serve(create_app()) as address:
        pass

    async with httpx.AsyncClient(headers=KEY) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{address}/v1/models")


async def test_any_key_or_chosen_ones() -> None:
    async with (
        serve(create_app(api_keys=None)) as open_to_all,
        serve(create_app(api_keys={"sk-one", "sk-two"})) as chosen,
        httpx.AsyncClient() as client,
    ):
        statuses = [
            (
                await client.get(f"{address}/v1/models", headers={"authorization": f"Bearer {key}"})
            ).status_code
            for address, key in (
                (open_to_all, "sk-whatever"),
                (chosen, "sk-two"),
                (chosen, API_KEY),
            )
        ]

    assert statuses == [200, 200, 401]


async def test_events_are_not_held_back_by_the_socket() -> None:
    """TCP_NODELAY is set on accepted connections: an event does not wait for an acknowledgement."""
    seen: list[int] = []
    app = create_app()

    class Spy:
        async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
            extensions = scope["extensions"]
            assert isinstance(extensions, dict)
            (extension,) = extensions.values()
            raw = extension["transport"].get_extra_info("socket")
            seen.append(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await app(scope, receive, send)  # type: ignore[arg-type]

        def close(self) -> None:
            app.close()

    async with serve(Spy()) as address, httpx.AsyncClient(headers=KEY) as client:
        await client.get(f"{address}/v1/models")

    assert seen == [1]


async def test_the_clock_is_the_one_given() -> None:
    app = create_app(clock=lambda: 1_800_000_000.25)
    async with serve(app) as address, httpx.AsyncClient(headers=KEY) as client:
        answer = await client.post(f"{address}/v1/chat/completions", json=chat_body())

    assert answer.json()["created"] == 1_800_000_000
    assert app.invoice.lines[0].arrived == 1_800_000_000.25


async def test_runs_alone(tmp_path: Path) -> None:
    """The first line is the address; the invoice survives a kill."""
    file = tmp_path / "invoice.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.simulator", "--invoice", str(file), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(headers=KEY, base_url=address) as client:
            await client.post("/v1/chat/completions", json=chat_body())
            with pytest.raises(httpx.ReadError):
                await client.post(
                    "/v1/chat/completions",
                    json=chat_body("[[sim: die_after_events=2]]", stream=True),
                )
            page = (await client.get("/simulator/invoice")).json()
    finally:
        process.kill()
        await process.wait()

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert page["items"] == lines
    assert [line["outcome"] for line in lines] == ["completed", "died"]


async def test_a_signal_ends_it() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.simulator", stdout=PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()

    process.terminate()
    await process.communicate()

    assert process.returncode == 0
