"""How much Python a call runs: ``python -m bench.opcodes MODE``, the same on every machine at any time.

Counts the bytecodes of each function while Farebox answers exactly so many calls. What C does is not in
it; in return it tells the functions of Python apart, to the last step, however busy the machine is.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench.answers import write_answers
from bench.gateways import FareboxOptions, Gateway, farebox, mock
from bench.instructions import call_all
from bench.modes import MODES

_WARM_UP = 200
_WRITTEN_WITHIN_S = 30


def main() -> int:
    """The exit code."""
    made = argparse.ArgumentParser(
        prog="python -m bench.opcodes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("mode", nargs="?", default="json64", choices=[m.name for m in MODES])
    made.add_argument("--calls", type=int, default=320)
    made.add_argument("--top", type=int, default=40, help="functions to show (40)")
    options = made.parse_args()
    mode = next(m for m in MODES if m.name == options.mode)
    with tempfile.TemporaryDirectory(prefix="farebox-opcodes-") as name:
        folder = Path(name)
        write_answers(folder / "answers")
        found = folder / "opcodes.json"
        under = (sys.executable, "-c", _SERVE, str(found))
        settings = FareboxOptions(under=under)
        with (
            mock(folder, folder / "answers") as mock_port,
            farebox(folder, mock_port, settings) as gateway,
        ):
            call_all(gateway, mode, _WARM_UP)
            _tell(gateway, signal.SIGUSR1)
            call_all(gateway, mode, options.calls)
            _tell(gateway, signal.SIGUSR2)
            rows = _read(found)
    _show(mode.title, rows, options.calls, options.top)
    return 0


def _tell(gateway: Gateway, what: signal.Signals) -> None:
    os.kill(gateway.pid or 0, what)
    time.sleep(0.3)


def _read(found: Path) -> list[tuple[str, int, str, int, int]]:
    deadline = time.monotonic() + _WRITTEN_WITHIN_S
    while not found.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return [tuple(row) for row in json.loads(found.read_text())]


def _show(title: str, rows: list[tuple[str, int, str, int, int]], calls: int, count: int) -> None:
    total, entered = sum(row[3] for row in rows), sum(row[4] for row in rows)
    print(f"{title}: {total / calls:,.0f} bytecodes in {entered / calls:,.0f} functions a call")
    files: Counter[str] = Counter()
    for file, _, _, opcodes, _ in rows:
        files["/".join(Path(file).parts[-2:])] += opcodes
    for file, opcodes in files.most_common(count):
        print(f"{opcodes / calls:9.1f}  {file}")
    print()
    for file, line, name, opcodes, times in rows[:count]:
        where = "/".join(Path(file).parts[-2:])
        print(f"{opcodes / calls:9.1f} in {times / calls:5.2f}  {where}:{line} {name}")


# In Farebox's process


_SERVE = "from bench.opcodes import serve; serve()"


def serve() -> None:
    """Run ``farebox`` with what follows, counting between the two signals."""
    from proxy.app import application  # noqa: PLC0415 - not in the process that only asks
    from proxy.cli import main as run  # noqa: PLC0415

    into, sys.argv[:] = Path(sys.argv[1]), sys.argv[3:]
    counting = _Counting()
    settled: Callable[[], None] = application._spare_the_collector  # noqa: SLF001 - the last step of a start

    def and_then() -> None:
        settled()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, counting.start)
        loop.add_signal_handler(signal.SIGUSR2, counting.write, into)
        sys.settrace(counting.enter)

    application._spare_the_collector = and_then  # noqa: SLF001 - see above
    threading.settrace(counting.enter)
    run()


class _Counting:
    """Counts the bytecodes of every function."""

    def __init__(self) -> None:
        self._on = False
        self._opcodes: Counter[CodeType] = Counter()
        self._entered: Counter[CodeType] = Counter()

    def start(self) -> None:
        """From here on."""
        self._on = True

    def write(self, into: Path) -> None:
        """Until here: the functions with the most first."""
        self._on = False
        rows = [
            (code.co_filename, code.co_firstlineno, code.co_qualname, count, self._entered[code])
            for code, count in self._opcodes.most_common()
        ]
        unfinished = into.with_suffix(".part")
        unfinished.write_text(json.dumps(rows))
        unfinished.rename(into)

    def enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """A function is entered, or goes on."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if self._on:
            self._entered[frame.f_code] += 1
        return self._step

    def _step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode" and self._on:
            self._opcodes[frame.f_code] += 1
        return self._step


if __name__ == "__main__":
    sys.exit(main())
