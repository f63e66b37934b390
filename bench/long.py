"""A long run: ``python -m bench.long`` makes 500,000 calls and 50,000 streams, some left half-way.

The clients of the streams leave at random. Afterwards memory has to be flat, no call may have failed, and
the ledger has to say what the mock served: every call once, with the provider's usage, at its price, to
the nano-dollar; and its totals have to add up. Exits with 1 where anything differs.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.answers import MODEL, request_body, write_answers
from bench.gateways import FareboxOptions, Gateway, farebox, get, mock
from bench.modes import MOST_MIB_GROWN, MOST_MIB_IDLE
from bench.processor import memory_bytes, seconds_used
from bench.programs import LOAD_CPU, pinned
from proxy.core.pricing import PriceQuery
from proxy.core.usage import Usage
from proxy.ledger import check_rows
from proxy.store.engine import Database
from proxy.store.pricebook import layered_book

EVENTS, INTERVAL_MS = 30, 2
JSON_BODY = request_body("json")
STREAM_BODY = request_body(f"paced,{EVENTS},{INTERVAL_MS}", stream=True)
_PROMPT = 219
_OUTPUT = {"json": 14, "paced": 300}  # tokens that the mock says
_SAMPLES = 20
_DRAINED_WITHIN_S = 120
_IDLE = ("farebox_calls_in_flight 0", "farebox_ledger_unwritten 0")


def main() -> int:
    """The exit code."""
    made = argparse.ArgumentParser(
        prog="python -m bench.long",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--calls", type=int, default=500_000)
    made.add_argument("--streams", type=int, default=50_000)
    made.add_argument("--clients", type=int, default=64, help="at once (64)")
    made.add_argument("--leave", type=float, default=0.3, help="the part of streams left (0.3)")
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args()
    with tempfile.TemporaryDirectory(prefix="farebox-long-") as name:
        wrong = _run(options, Path(name))
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _run(options: argparse.Namespace, folder: Path) -> list[str]:
    write_answers(folder / "answers")
    with mock(folder, folder / "answers") as mock_port:
        with farebox(folder, mock_port, FareboxOptions()):
            pass  # it made the tables: who does that keeps 11 MiB of what makes them
        with farebox(folder, mock_port, FareboxOptions(drain=True)) as gateway:
            _load(gateway, options, folder, calls=500, streams=50)
            _await_idle(gateway)
            idle = _mib(gateway)
            used, began = seconds_used(gateway.pid or 0), time.monotonic()
            said, samples = _load_and_watch(gateway, options, folder)
            _await_idle(gateway)
            took, used = time.monotonic() - began, seconds_used(gateway.pid or 0) - used
            after = _mib(gateway)
        served = json.loads(_ask(mock_port, request_body("invoice")))
    print(f"{said['calls']:,} calls and {said['streams']:,} streams, {said['left']:,} of them left")
    print(
        f"in {took:.0f} s, {used * 1000 / (said['calls'] + said['streams']):.3f} ms processor each"
    )
    print(f"memory: {idle:.0f} MiB after 550, then", " ".join(f"{s:.0f}" for s in samples))
    print(f"        {after:.0f} MiB at the end: {after - idle:+.1f}")
    wrong = [f"{said['wrong']} calls were not answered well"] if said["wrong"] else []
    if idle > MOST_MIB_IDLE or after - idle > MOST_MIB_GROWN:
        wrong.append(f"memory: at most {MOST_MIB_IDLE} MiB, and {MOST_MIB_GROWN} more, are wanted")
    return wrong + _differences(folder / "farebox.db", served)


# The load


def _load_and_watch(
    gateway: Gateway, options: argparse.Namespace, folder: Path
) -> tuple[dict[str, int], list[float]]:
    with _client(gateway, options, folder, options.calls, options.streams) as client:
        samples: list[float] = []
        pause_s = 1.0
        while client.poll() is None:
            time.sleep(pause_s)
            samples.append(_mib(gateway))
            if len(samples) == 2 * _SAMPLES:  # fewer and further apart, however long it takes
                samples, pause_s = samples[1::2], 2 * pause_s
        said, _ = client.communicate()
    if client.returncode:
        raise RuntimeError(f"the load failed with {client.returncode}")
    return json.loads(said), samples


def _load(
    gateway: Gateway, options: argparse.Namespace, folder: Path, *, calls: int, streams: int
) -> None:
    with _client(gateway, options, folder, calls, streams) as client:
        client.communicate()


def _client(
    gateway: Gateway, options: argparse.Namespace, folder: Path, calls: int, streams: int
) -> "subprocess.Popen[bytes]":
    (folder / "json.body").write_bytes(JSON_BODY)
    (folder / "stream.body").write_bytes(STREAM_BODY)
    what = (gateway.port, gateway.key, calls, streams, options.clients, options.leave, options.seed)
    command = [sys.executable, "-m", "bench.long_client", str(folder), *map(str, what)]
    root = Path(__file__).parents[1]
    return subprocess.Popen(pinned(command, LOAD_CPU), stdout=subprocess.PIPE, cwd=root)


def _mib(gateway: Gateway) -> float:
    return memory_bytes(gateway.pid or 0) / 2**20


def _await_idle(gateway: Gateway) -> None:
    """Return when no call is under way and all are in the ledger. Raises RuntimeError."""
    deadline = time.monotonic() + _DRAINED_WITHIN_S
    while time.monotonic() < deadline:
        page = get(gateway.port, "/metrics")[1].decode()
        if all(line in page for line in _IDLE):
            return
        time.sleep(0.2)
    raise RuntimeError(f"calls are still under way after {_DRAINED_WITHIN_S} s")


def _ask(port: int, body: bytes) -> bytes:
    import http.client  # noqa: PLC0415 - only here

    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", body)
        return connection.getresponse().read()


# The books


def _differences(database: Path, served: dict[str, int]) -> list[str]:
    """Where the ledger differs from what the mock served, or from itself."""
    rates = layered_book(()).rates(PriceQuery("mock", "openai", MODEL), time.time_ns() // 1000)
    if rates is None:
        raise RuntimeError(f"the price data does not know {MODEL}")
    due = {
        kind: rates.charge(Usage(input=_PROMPT, output=tokens)).nano
        for kind, tokens in _OUTPUT.items()
    }
    invoice_nano = sum(due[kind] * served[kind] for kind in due)
    with closing(sqlite3.connect(database)) as connection:

        def one(query: str) -> int:
            (found,) = connection.execute(query).fetchone()
            return int(found or 0)

        found = {
            "attempts": one("SELECT count(*) FROM attempts"),
            "attempts with the provider's usage": one(
                "SELECT count(*) FROM attempts WHERE usage_source = 'provider'"
            ),
            "calls": one("SELECT count(*) FROM calls WHERE attempts = 1"),
            "charged nano-dollars": one("SELECT sum(cost_nano) FROM calls"),
            "spent nano-dollars": one("SELECT sum(spent_nano) FROM budget_windows"),
            "held nano-dollars": one("SELECT sum(held_nano) FROM budget_windows"),
            "holds": one("SELECT count(*) FROM holds"),
        }
    count = served["json"] + served["paced"]
    expected = dict(
        zip(found, (count, count, count, invoice_nano, invoice_nano, 0, 0), strict=True)
    )
    for what, value in expected.items():
        print(f"{what}: {found[what]:,} in the ledger, {value:,} by the mock")
    problems = Database(f"sqlite:///{database}").run_here(check_rows.verify, writes=False)
    return problems + [
        f"{what}: {found[what]}, not {expected[what]}"
        for what in expected
        if found[what] != expected[what]
    ]


if __name__ == "__main__":
    sys.exit(main())
