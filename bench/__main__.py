"""``make bench``: what a call costs Farebox, beside nginx and no gateway, in the same run.

Needs wrk (apt-get install wrk). nginx (apt-get install nginx-light) gives the ratios, gcc the cheap
mock. Everything runs on the loopback interface: the gateway on one processor, mock and load on
another. Exits with 1 where Farebox takes more than its multiple of nginx, or an answer was wrong.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from bench.answers import write_answers
from bench.gateways import FareboxOptions, Gateway, mock
from bench.modes import MODES, SlowStreams
from bench.programs import Missing, is_pinning, program
from bench.report import as_json, faults, past_ratio, table
from bench.run import Plan, run

GATEWAYS = ("none", "nginx", "farebox")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--gateway", action="append", choices=GATEWAYS, help="only these (default: all)")
    add("--mode", action="append", choices=[m.name for m in MODES], help="only these loads")
    add("--seconds", type=float, default=4, help="of each load (4)")
    add("--repetitions", type=int, default=3, help="the medians are shown (3)")
    add("--quick", action="store_true", help="1 s, once, 64 slow streams: to see that it works")
    add("--no-slow", action="store_true", help="leave out the slow streams")
    add("--database", help="Farebox's ledger (a new SQLite file), as postgresql://…")
    add("--durability", choices=("normal", "full"), default="normal", help="of the ledger")
    add("--workers", type=int, default=1, help="processes of Farebox; more than one are not pinned")
    add(
        "--running",
        action="append",
        type=running_gateway,
        default=[],
        metavar="NAME,PORT,PID[,KEY]",
        help="measure this, too: a gateway that forwards /v1 to the mock",
    )
    add("--mock-port", type=int, default=0, help="for --running: where the mock shall listen")
    add("--mock-only", action="store_true", help="run the mock until interrupted")
    add("--output", type=Path, help="write the figures as JSON")
    return made


def running_gateway(text: str) -> Gateway:
    """NAME,PORT,PID[,KEY]."""
    name, port, pid, *key = text.split(",")
    return Gateway(name, int(port), int(pid), *key[:1])


def plan(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    quick = options.quick
    slow = SlowStreams(streams=64, events=100) if quick else SlowStreams()
    wanted = options.mode or [mode.name for mode in MODES if not mode.is_extra]
    return Plan(
        gateways=tuple(options.gateway or GATEWAYS),
        modes=tuple(mode for mode in MODES if mode.name in wanted),
        seconds=1 if quick else options.seconds,
        repetitions=1 if quick else options.repetitions,
        slow=None if options.no_slow else slow,
        farebox=FareboxOptions(options.database, options.workers, options.durability),
        others=tuple(options.running),
        mock_port=options.mock_port,
    )


def main() -> int:
    """The exit code."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as name:
        if options.mock_only:
            return _mock_only(Path(name), options.mock_port)
        try:
            program("wrk")
            return _measure(plan(options), Path(name), options.output)
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 2


def _measure(planned: Plan, folder: Path, output: Path | None) -> int:
    if not is_pinning():
        print("note: one processor only, or no taskset: gateway and load share, figures are rough")
    results = run(planned, folder, lambda line: print(f"  … {line}", file=sys.stderr, flush=True))
    print(table(planned, results))
    if output is not None:
        output.write_text(as_json(planned, results) + "\n")
    wrong = faults(results) + past_ratio(planned, results)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _mock_only(folder: Path, port: int) -> int:
    write_answers(folder / "answers")
    with mock(folder, folder / "answers", port) as found, contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{found}/v1", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
