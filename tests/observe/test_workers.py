"""Metrics of several worker processes on one page."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.metrics import Metrics
from proxy.observe.page import MetricsPage
from proxy.observe.workers import Workers
from tests.observe.samples import STARTED_US, finished

# A worker: counts as many calls as it is told, writes them, says so, and stays until its input ends.
WORKER = """
import sys
from pathlib import Path
from proxy.observe.metrics import Metrics
from proxy.observe.workers import Workers
from tests.observe.samples import finished
metrics = Metrics()
metrics.watch(in_flight=lambda: 5)
for _ in range(int(sys.argv[2])):
    metrics.call_finished(finished())
Workers(Path(sys.argv[1]), metrics).write()
print("written", flush=True)
sys.stdin.read()
"""
COUNT = b'outcome="completed",status="2xx"} '


async def no_budgets() -> Sequence[BudgetWindows]:
    return []


def start(folder: Path, calls: int) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "written\n"
    return worker


def end(worker: subprocess.Popen[str]) -> None:
    worker.communicate()


async def test_calls_of_all_processes_are_on_one_page(tmp_path: Path) -> None:
    """Two other processes and this one: counters add up; gauges of a dead process go, its counters stay."""
    metrics = Metrics()
    metrics.watch(in_flight=lambda: 1)
    metrics.call_finished(finished())
    page = MetricsPage(metrics, no_budgets, Workers(tmp_path, metrics))
    first, second = start(tmp_path, 10), start(tmp_path, 100)
    try:
        both = await page.text()
        end(first)
        one = await page.text()
    finally:
        end(second)

    assert COUNT + b"111\n" in both
    assert b"farebox_calls_in_flight 11\n" in both
    assert COUNT + b"111\n" in one
    assert b"farebox_calls_in_flight 6\n" in one
    assert b"process_resident_memory_bytes" not in both


async def test_a_call_of_another_process_is_an_exemplar_too(tmp_path: Path) -> None:
    """Of several processes' calls in a bucket, the one that started last is named."""
    metrics = Metrics()
    metrics.call_finished(finished(id="fb-here", started_at_us=STARTED_US - 1_000_000))
    page = MetricsPage(metrics, no_budgets, Workers(tmp_path, metrics))
    other = start(tmp_path, 1)
    try:
        text = await page.text(openmetrics=True)
    finally:
        end(other)

    assert b'# {call_id="fb-019a0000000100000000000000000001"} 2.0005 ' in text
    assert b"fb-here" not in text
    assert text.endswith(b"# EOF\n")


async def test_a_worker_writes_what_changed_without_being_asked(tmp_path: Path) -> None:
    """What another worker counted before the scrape is on the page."""
    busy, asked = Metrics(), Metrics()
    writing = asyncio.create_task(Workers(tmp_path, busy, pid=os.getppid()).write_forever())
    page = MetricsPage(asked, no_budgets, Workers(tmp_path, asked))
    await asyncio.sleep(0)
    busy.call_finished(finished())

    text = await page.text()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert COUNT + b"1\n" in text


async def test_a_worker_that_stops_writes_its_last_counts(tmp_path: Path) -> None:
    metrics = Metrics()
    workers = Workers(tmp_path, metrics, pid=os.getppid())
    writing = asyncio.create_task(workers.write_forever())
    await asyncio.sleep(0)
    metrics.call_finished(finished())
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    others = await Workers(tmp_path, Metrics()).others()

    assert [list(other.values["farebox_calls_total"].values()) for other in others] == [[1]]


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    metrics = Metrics()
    workers = Workers(tmp_path, metrics)
    workers.write()
    [file] = tmp_path.iterdir()
    file.unlink()

    workers.write()

    assert list(tmp_path.iterdir()) == []
