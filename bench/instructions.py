"""How many instructions a call takes: ``python -m bench.instructions MODE``, the same however busy the machine is.

Runs Farebox under valgrind's callgrind (apt-get install valgrind), makes so many calls, and divides. What the
kernel does is not counted: the calls of the system are, apart, by strace where that is asked for.
It is for comparing two versions of the code; what it takes in time is what ``python -m bench`` measures.
"""

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from bench.answers import write_answers
from bench.gateways import FareboxOptions, Gateway, farebox, mock
from bench.modes import MODES, Mode
from bench.processor import family
from bench.programs import Missing, program

_WARM_UP = 200
_END = (b"\r\n0\r\n\r\n", b"}")  # of a stream, of a JSON answer


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    mode = next(m for m in MODES if m.name == options.mode)
    try:
        with tempfile.TemporaryDirectory(prefix="farebox-instructions-") as name:
            for line in _counted(mode, options, Path(name)):
                print(line)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("mode", nargs="?", default="json64", choices=[m.name for m in MODES])
    made.add_argument("--calls", type=int, default=640)
    made.add_argument("--top", type=int, default=25, help="functions of C to show (25)")
    made.add_argument("--syscalls", action="store_true", help="count calls of the system instead")
    made.add_argument("--database", help="Farebox's ledger (a new SQLite file), as postgresql://…")
    return made


def _counted(mode: Mode, options: argparse.Namespace, folder: Path) -> Iterator[str]:
    write_answers(folder / "answers")
    tool = () if options.syscalls else _callgrind(folder)
    settings = FareboxOptions(options.database, under=tool)
    with (
        mock(folder, folder / "answers") as mock_port,
        farebox(folder, mock_port, settings) as gateway,
    ):
        call_all(gateway, mode, _WARM_UP)
        if options.syscalls:
            yield from _system_calls(gateway, mode, options.calls, folder)
            return
        pid = family(gateway.pid or 0)[-1]
        _control("--instr=on", pid)
        call_all(gateway, mode, options.calls)
        _control("--instr=off", pid)
        _control("--dump", pid)
    found = max(folder.glob("callgrind.out*"), key=lambda path: path.stat().st_size)
    total = _total(found)
    yield f"{mode.title}: {total / options.calls:,.0f} instructions a call"
    yield from _functions(found, options)


def _callgrind(folder: Path) -> tuple[str, ...]:
    return (
        program("valgrind"),
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={folder}/callgrind.out",
    )


def _control(what: str, pid: int) -> None:
    command = [program("callgrind_control"), what, str(pid)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _total(found: Path) -> int:
    totals = re.findall(r"^(?:summary|totals): (\d+)", found.read_text(), re.MULTILINE)
    return max(map(int, totals), default=0)


def _functions(found: Path, options: argparse.Namespace) -> Iterator[str]:
    command = [program("callgrind_annotate"), "--threshold=100", str(found)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(\S.*?)(?: \[(.*)\])?$", said, re.MULTILINE)
    libraries: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for count, name, library in rows[1:]:
        taken = int(count.replace(",", "")) // options.calls
        libraries[library.rpartition("/")[2] or "?"] += taken
        functions[name.rpartition(":")[2].partition("'")[0]] += taken
    for counted in (libraries, functions):
        for name, taken in counted.most_common(options.top):
            yield f"{taken:12,}  {name}"
        yield ""


def _system_calls(gateway: Gateway, mode: Mode, calls: int, folder: Path) -> Iterator[str]:
    said = folder / "strace"
    command = [program("strace"), "-f", "-c", "-o", str(said), "-p", str(gateway.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracing:
        if tracing.stderr is not None:
            tracing.stderr.readline()  # it says that it is there
        call_all(gateway, mode, calls)
        tracing.terminate()
    counts: Counter[str] = Counter()
    for line in said.read_text().splitlines()[2:]:
        fields = line.split()
        if len(fields) > 4 and fields[3].isdigit() and fields[-1] != "total":  # noqa: PLR2004
            counts[fields[-1]] = int(fields[3])
    yield f"{mode.title}: {counts.total() / calls:.2f} calls of the system a call"
    for name, count in counts.most_common(12):
        yield f"{count / calls:8.2f}  {name}"


# The load: exactly so many calls


def call_all(gateway: Gateway, mode: Mode, calls: int) -> None:
    """Make so many calls, as many at once as the mode says. Raises RuntimeError for a wrong answer."""
    asyncio.run(_call_all(gateway, mode, calls))


async def _call_all(gateway: Gateway, mode: Mode, calls: int) -> None:
    loop = asyncio.get_running_loop()
    left = [calls]
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\n"
        f"authorization: Bearer {gateway.key}\r\ncontent-type: application/json\r\n"
        f"accept: */*\r\nuser-agent: OpenAI/Python 2.0.0\r\ncontent-length: {len(mode.body)}\r\n\r\n"
    )
    clients = []
    for _ in range(min(mode.clients, calls)):
        _, client = await loop.create_connection(
            lambda: _Client(head.encode() + mode.body, left), "127.0.0.1", gateway.port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))


class _Client(asyncio.Protocol):
    """Asks again and again, until there are no calls left."""

    def __init__(self, request: bytes, left: list[int]) -> None:
        self._request = request
        self._left = left
        self._answer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if not self._left[0]:
            self._transport.close()
            return
        self._left[0] -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(_END):
            return
        if not self._answer.startswith(b"HTTP/1.1 200 "):
            self._transport.abort()
            with contextlib.suppress(asyncio.InvalidStateError):
                self.done.set_exception(RuntimeError(f"answered {self._answer[:300]!r}"))
        self._answer = b""
        self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


if __name__ == "__main__":
    sys.exit(main())
