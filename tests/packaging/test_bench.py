"""The benchmark measures what it says: both mocks answer alike, and a missed goal is seen."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.answers import PACED_STAMP, events_of, json_body, request_body, write_answers
from bench.gateways import FareboxOptions
from bench.load import Figures
from bench.modes import MODES
from bench.programs import await_port, free_port, running
from bench.report import faults, past_ratio, table
from bench.run import Plan, Results

MOCKS = ["c", "python"]
STAMP = re.compile(rb'"content":"(\d{9})"')


@contextmanager
def mock(kind: str, root: Path, folder: Path) -> Iterator[int]:
    """The port of a mock of one kind."""
    answers = folder / "answers"
    write_answers(answers)
    port, log = free_port(), folder / "log"
    if kind == "python":
        command = [sys.executable, "-m", "bench.mock", str(port), str(answers)]
    elif compiler := shutil.which("gcc"):
        subprocess.run([compiler, "-O1", "-o", folder / "mock", root / "bench/mock.c"], check=True)
        command = [str(folder / "mock"), str(port), str(answers)]
    else:
        pytest.skip("no compiler")
    with running(command, cpu=None, log=log) as process:
        await_port(process, port, log)
        yield port


async def ask(port: int, *bodies: bytes, chunked: bool = False) -> bytes:
    """All that comes back to some requests on one connection, until each answer has ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    for body in bodies:
        framing, sent = b"content-length: %d" % len(body), body
        if chunked:
            framing, sent = (
                b"transfer-encoding: chunked",
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            )
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
        writer.write(sent)
        answer = await reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"content-length: (\d+)", answer):
            answer += await reader.readexactly(int(length[1]))
        else:
            answer += await reader.readuntil(b"\r\n0\r\n\r\n")
        got += answer
    writer.close()
    await writer.wait_closed()
    return got


@pytest.mark.parametrize("kind", MOCKS)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_mock_sends_the_answer_that_is_asked_for(
    kind: str, chunked: bool, root: Path, tmp_path: Path
) -> None:
    """Also several on one connection, and where the request comes in chunks."""
    with mock(kind, root, tmp_path) as port:
        bodies = [request_body("json"), request_body("stream30", stream=True), request_body("json")]
        got = await ask(port, *bodies, chunked=chunked)

    answers = [
        (tmp_path / "answers" / f"{n}.http").read_bytes() for n in ("json", "stream30", "json")
    ]
    assert got == b"".join(answers)


@pytest.mark.parametrize("kind", MOCKS)
async def test_a_paced_answer_says_when_each_event_was_sent(
    kind: str, root: Path, tmp_path: Path
) -> None:
    with mock(kind, root, tmp_path) as port:
        got = await ask(port, request_body("paced,4,5", stream=True))

    stamps = [int(found) for found in STAMP.findall(got)]
    assert len(stamps) == 4
    assert stamps == sorted(stamps)
    assert (
        stamps[-1] - stamps[0] >= 2 * 5_000
    )  # microseconds: three intervals, the clock's grain apart
    assert PACED_STAMP.encode() not in got


@pytest.mark.parametrize("kind", MOCKS)
async def test_a_mock_says_what_it_served(kind: str, root: Path, tmp_path: Path) -> None:
    """That is the invoice of a long run."""
    with mock(kind, root, tmp_path) as port:
        streamed = request_body("stream30", stream=True)
        paced = request_body("paced,1,1", stream=True)
        await ask(port, request_body("json"), streamed, request_body("json"))
        await ask(port, paced)
        got = await ask(port, request_body("invoice"))

    assert json.loads(got.partition(b"\r\n\r\n")[2]) == {"json": 2, "stream30": 1, "paced": 1}


def test_a_request_has_the_size_that_is_asked_for() -> None:
    for size in (1000, 16_000):
        body = request_body("json", size=size)

        assert len(body) == size
        assert json.loads(body)["messages"][1]["content"].startswith("bench:json;")


def test_no_answer_is_longer_than_what_the_requests_allow() -> None:
    """In bytes, so that nobody has to count tokens to see that it keeps to its cap."""
    (cap,) = {json.loads(mode.body)["max_tokens"] for mode in MODES if not mode.is_extra}
    said = b"".join(re.findall(rb'"content":"([^"]*)"', b"".join(events_of(300))))

    assert len(said) < cap
    assert json.loads(json_body())["usage"]["completion_tokens"] < cap


# What is made of the figures


def results(farebox_ms: float, errors: int = 0) -> Results:
    """A run of the first load, in which nginx took 0.02 ms."""
    nginx = Figures(50_000, 0.02, 100, 200, calls=1000, errors=0)
    farebox = Figures(10_000, farebox_ms, 100, 200, calls=1000, errors=errors)
    return Results(figures={MODES[0].name: {"nginx": nginx, "farebox": farebox}})


@pytest.fixture
def plan() -> Plan:
    """The plan of that run."""
    return Plan(("nginx", "farebox"), MODES[:1], 1, 1, None, FareboxOptions())


def test_more_than_the_multiple_of_nginx_is_too_much(plan: Plan) -> None:
    assert past_ratio(plan, results(0.0899)) == []
    assert len(past_ratio(plan, results(0.0901))) == 1


def test_a_run_with_errors_is_worth_nothing() -> None:
    assert faults(results(0.05)) == []
    assert faults(results(0.05, errors=1)) == ["farebox, json64: 1 errors"]


def test_the_table_shows_figures_ratio_and_goals(plan: Plan) -> None:
    shown = table(plan, results(0.086))

    assert "0.0860" in shown
    assert "4.30" in shown
    assert "[OVER: ≤ 0.085 ms]; [ok: ≤ 4.5 × nginx]" in shown
