"""``farebox serve`` before its PostgreSQL is there: alive, not ready, closed; and ready when it comes."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.commands import service
from tests.e2e.running import ADMIN, KEY, bearer, chat_body, config
from tests.postgres import PostgresServer, new_server


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, stopped, with nothing in it."""
    server = new_server()
    server.stop()
    yield server
    server.stop()
    shutil.rmtree(server.base)


def write(folder: Path, server: PostgresServer, upstream: str, unavailable: str) -> Path:
    """A configuration on the server's empty database."""
    document = config(upstream, folder, ledger={"unavailable": unavailable}, logging={})
    document["database"] = f"{server.url}/postgres"
    path = folder / "farebox.yaml"
    path.write_text(json.dumps(document).replace("{simulator}", upstream))
    return path


async def ready(client: httpx.AsyncClient) -> None:
    """Wait for it as an orchestrator does."""
    async with asyncio.timeout(60):
        while not (await client.get("/readyz")).is_success:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("unavailable", ["reject", "allow"])
async def test_it_answers_at_once_and_is_ready_when_the_database_comes(
    unavailable: str, tmp_path: Path, server: PostgresServer
) -> None:
    """It migrates then, too. Until then calls are refused by either policy: it knows no key and no total."""
    async with serve_simulator(create_app()) as upstream:
        path = write(tmp_path, server, upstream, unavailable)
        with service(tmp_path, "--config", str(path)) as it:
            async with httpx.AsyncClient(base_url=it.url, timeout=30) as client:
                headers, body = bearer(KEY), chat_body()
                assert (await client.get("/healthz")).status_code == 200
                unready = await client.get("/readyz")
                refused = await client.post("/v1/chat/completions", headers=headers, json=body)
                shown = await client.get("/metrics")
                listed = await client.get("/admin/v1/budgets", headers=bearer(ADMIN))

                assert (unready.status_code, unready.json()["status"]) == (503, "not ready")
                assert "does not answer" in unready.json()["reason"]
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == "ledger_unavailable"
                assert shown.status_code == 200
                assert listed.status_code == 503

                await asyncio.to_thread(server.start)
                await ready(client)
                answer = await client.post("/v1/chat/completions", headers=headers, json=body)
                budgets = await client.get("/admin/v1/budgets", headers=bearer(ADMIN))
                assert answer.status_code == 200
                assert budgets.status_code == 200
            assert it.stop() == 0  # then every line of its log is written
            assert it.events("database_awaited")
            assert len(it.events("database_opened")) == 1


async def test_workers_answer_at_once_and_are_ready_when_the_database_comes(
    tmp_path: Path, server: PostgresServer
) -> None:
    """Each of several processes by itself; none is taken for dead, or started anew."""
    async with serve_simulator(create_app()) as upstream:
        path = write(tmp_path, server, upstream, "reject")
        with service(tmp_path, "--config", str(path), "--workers", "2", ready=2) as it:
            refused = []
            for _ in range(4):  # each on a connection of its own, which any of them may take
                async with httpx.AsyncClient(base_url=it.url, timeout=30) as client:
                    answer = await client.post(
                        "/v1/chat/completions", headers=bearer(KEY), json=chat_body()
                    )
                    refused.append((answer.status_code, answer.json()["error"]["code"]))

            await asyncio.to_thread(server.start)
            it.until(lambda: len(it.events("database_opened")) == 2)
            async with httpx.AsyncClient(base_url=it.url, timeout=30) as client:
                served = await client.post(
                    "/v1/chat/completions", headers=bearer(KEY), json=chat_body()
                )
            died = it.events("worker_died")
            assert it.stop() == 0

    assert refused == [(503, "ledger_unavailable")] * 4
    assert (served.status_code, died) == (200, [])


async def test_told_to_stop_while_it_waits_it_stops(tmp_path: Path, server: PostgresServer) -> None:
    path = write(tmp_path, server, "http://127.0.0.1:9", "reject")
    with service(tmp_path, "--config", str(path)) as it:
        it.until(lambda: it.events("database_awaited"))

        assert it.stop() == 0
        assert it.events("not_started") == []


async def test_a_name_that_does_not_exist_ends_it(tmp_path: Path, server: PostgresServer) -> None:
    """A mistake in the configuration is not waited for."""
    await asyncio.to_thread(server.start)
    path = write(tmp_path, server, "http://127.0.0.1:9", "reject")
    path.write_text(path.read_text().replace("/postgres", "/no_such_database"))
    with (
        pytest.raises(AssertionError, match=r"ended with [13].*no_such_database"),
        service(tmp_path, "--config", str(path)),
    ):
        pass
