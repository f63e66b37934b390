"""``--workers 2``: two processes, one port, one ledger, one truth."""

import asyncio
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.simulator import Simulator, create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.commands import Service, service
from tests.e2e.running import ADMIN, KEY, bearer, chat_body, config, eventually, nano

pytestmark = pytest.mark.xdist_group("workers")
T = TypeVar("T")
LIMIT = 1_000_000  # nano-dollars
NEEDED = 100_000  # the most that one of the calls needs to be admitted


@dataclass(frozen=True, slots=True)
class Workers:
    """Farebox with two workers, in front of a simulator."""

    folder: Path
    document: dict[str, Any]
    service: Service
    simulator: Simulator
    client: httpx.AsyncClient  # a connection for each request, so that either worker may get it

    @property
    def url(self) -> str:
        """Where they listen."""
        return str(self.client.base_url)

    @property
    def pids(self) -> list[int]:
        """Every worker that has started, the oldest first."""
        return [entry["process"] for entry in self.service.events("started")]

    async def chat(self, prompt: str = "Hello", **body: Any) -> httpx.Response:
        """One chat completion."""
        document = chat_body(prompt, **body)
        return await self.client.post("/v1/chat/completions", json=document, headers=bearer(KEY))

    async def get(self, path: str) -> httpx.Response:
        """A page of the machine's or the admin's."""
        return await self.client.get(path, headers=bearer(ADMIN))

    async def items(self, path: str) -> list[dict[str, Any]]:
        """What the admin API lists."""
        items: list[dict[str, Any]] = (await self.get(f"/admin/v1{path}")).json()["items"]
        return items

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Straight from the database's file."""
        with closing(sqlite3.connect(self.folder / "farebox.db")) as connection:
            return connection.execute(query).fetchall()

    def configure(self, **changes: Any) -> None:
        """Write the configuration anew, as an editor does: all of it at once."""
        fresh = self.folder / "fresh.yaml"
        fresh.write_text(yaml.safe_dump(self.document | changes))
        fresh.replace(self.folder / "farebox.yaml")


@asynccontextmanager
async def two_workers(folder: Path, **changes: Any) -> AsyncIterator[Workers]:
    simulator = create_app()
    async with serve_simulator(simulator) as upstream:
        document = config(upstream, folder, logging={"level": "info"}, **changes)
        path = folder / "farebox.yaml"
        path.write_text(yaml.safe_dump(document))
        starting = service(folder, "--config", str(path), "--workers", "2", ready=2)
        running = await asyncio.to_thread(starting.__enter__)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        try:
            async with httpx.AsyncClient(base_url=running.url, timeout=30, limits=limits) as client:
                yield Workers(folder, document, running, simulator, client)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


async def until(check: Callable[[], T]) -> T:
    """The first true answer of something that needs no waiting itself."""

    async def asked() -> T:
        return check()

    return await eventually(asked, within_s=20)


async def test_budgets_are_exact_and_metrics_whole_over_both(tmp_path: Path) -> None:
    """With both at work at once: never over the limit, what fits is admitted, and every scrape has all."""
    budget = {"limit_usd": "0.001", "window": "day"}
    team = {"name": "search", "budgets": [budget]}
    ledger = {"hold_wait_s": 20}
    async with two_workers(tmp_path, teams=[team], ledger=ledger) as workers:
        prompt = "Hello [[sim: first_byte_ms=50, output_tokens=20]]"
        calls = [asyncio.create_task(workers.chat(prompt, max_tokens=20)) for _ in range(100)]
        owners: set[str] = set()
        while not all(call.done() for call in calls):
            owners |= {owner for (owner,) in workers.rows("SELECT owner FROM holds")}
            ((spent, held),) = workers.rows(
                "SELECT coalesce(sum(spent_nano), 0), coalesce(sum(held_nano), 0) FROM budget_windows"
            )
            assert spent + held <= LIMIT
            await asyncio.sleep(0.01)
        answers = [call.result() for call in calls]
        statuses = {answer.status_code for answer in answers}
        admitted = sum(answer.status_code == 200 for answer in answers)

        assert statuses == {200, 429}
        assert len(owners) == 2
        await eventually(lambda: _counted(workers, 100))
        (shown,) = await workers.items("/budgets")
        billed = sum(line.cost_nano for line in workers.simulator.invoice.lines)
        assert (billed, 0) == (nano(shown["spent_usd"]), nano(shown["held_usd"]))
        assert admitted == len(workers.simulator.invoice.lines)
        assert LIMIT - billed < NEEDED
        for _ in range(6):  # whichever worker answers
            page = await scraped(workers)
            assert total(page, "farebox_calls_total") == 100
            assert 100 - admitted == total(page, "farebox_refusals_total")
            assert round(billed / 1e9, 9) == round(total(page, "farebox_cost_usd_total"), 9)
            assert total(page, "farebox_calls_in_flight") == 0
            assert total(page, "farebox_budget_limit_usd") == 0.001


async def test_both_follow_the_configuration(tmp_path: Path) -> None:
    """A change reaches both workers, by itself or by SIGHUP; a wrong file changes nothing."""
    async with two_workers(tmp_path) as workers:
        before = workers.pids
        workers.configure(defaults={"max_output_tokens": 3})
        workers.service.process.send_signal(signal.SIGHUP)
        await until(lambda: len(workers.service.events("configuration_reloaded")) == 2)
        for _ in range(4):
            answer = await workers.chat()
            assert answer.headers["x-farebox-output-cap"] == "3; source=default"

        workers.configure(defaults={"max_output_tokens": "many"})
        await until(lambda: len(workers.service.events("configuration_not_reloaded")) == 2)
        for _ in range(4):
            answer = await workers.chat()
            assert answer.headers["x-farebox-output-cap"] == "3; source=default"

        assert before == workers.pids
        assert workers.service.events("configuration_needs_restart") == []


async def test_a_worker_that_was_killed_is_replaced_and_its_calls_are_settled(
    tmp_path: Path,
) -> None:
    """What it held is swept after its lease by those who live, as a row that says lost."""
    async with two_workers(tmp_path, ledger={"lease_s": 1}) as workers:
        waiting = asyncio.create_task(workers.chat("Hello [[sim: first_byte_ms=60000]]"))
        ((owner,),) = await until(lambda: workers.rows("SELECT owner FROM holds"))
        victim = next(pid for pid in workers.pids if str(pid) in owner.split(":"))
        os.kill(victim, signal.SIGKILL)

        with pytest.raises(httpx.HTTPError):
            await waiting
        await until(lambda: len(workers.pids) == 3)
        rows = await eventually(lambda: _with_outcome(workers, "lost"), within_s=20)
        assert [row["key"] for row in rows] == ["search-key"]
        assert workers.rows("SELECT * FROM holds") == []
        budget = next(b for b in await workers.items("/budgets") if b["id"] == "team:search:month")
        assert budget["held_usd"] == "0.00"
        calls = await workers.items("/calls")
        assert sum(nano(row["cost_usd"]) for row in calls) == nano(budget["spent_usd"])
        for _ in range(6):
            assert (await workers.chat()).status_code == 200
        assert len(workers.service.events("worker_died")) == 1


async def test_a_stop_lets_calls_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM: calls under way get their whole answer; then no process, no hold and no socket is left."""
    async with two_workers(tmp_path) as workers:
        prompt = "Hello [[sim: output_tokens=40, event_ms=20]]"
        calls = [asyncio.create_task(workers.chat(prompt, stream=True)) for _ in range(8)]
        await until(lambda: len(workers.rows("SELECT 1 FROM holds")) == 8)
        code = await asyncio.to_thread(workers.service.stop)

        assert code == 0
        for answer in await asyncio.gather(*calls):
            assert answer.text.endswith("data: [DONE]\n\n")
        assert_gone(workers)
        assert workers.rows("SELECT * FROM holds") == []
        assert workers.rows("SELECT outcome, count(*) FROM calls GROUP BY 1") == [("completed", 8)]
        assert "Traceback" not in workers.service.stderr.read_text()


async def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """A parent that was killed takes its workers with it: they would hold the port for ever."""
    async with two_workers(tmp_path) as workers:
        workers.service.process.kill()

        await until(lambda: not any(map(lives, workers.pids)))
        assert_gone(workers)


async def _counted(workers: Workers, calls: int) -> bool:
    return total(await scraped(workers), "farebox_calls_total") == calls


async def _with_outcome(workers: Workers, outcome: str) -> list[dict[str, Any]]:
    return [row for row in await workers.items("/calls") if row["outcome"] == outcome]


def assert_gone(workers: Workers) -> None:
    """No worker lives, and nobody listens."""
    assert not any(map(lives, workers.pids))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", workers.client.base_url.port), 1).close()


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


Page = dict[str, list[Any]]


async def scraped(workers: Workers) -> Page:
    """A scrape, read as Prometheus reads it."""
    text = (await workers.get("/metrics")).text
    page: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page.setdefault(sample.name, []).append(sample)
    return page


def total(page: Page, name: str) -> float:
    """The sum over all labels."""
    return float(sum(sample.value for sample in page.get(name, [])))
