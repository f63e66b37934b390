"""Where the time goes: ``python -m bench.profile MODE`` samples Farebox under a load and prints its top functions.

Needs py-spy on the path, or beside this Python (pip install py-spy): it is no dependency of the project. In a
container it may need the right to trace other processes.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.answers import write_answers
from bench.gateways import FareboxOptions, Gateway, farebox, mock
from bench.load import Sample, load
from bench.modes import MODES, Mode
from bench.programs import LOAD_CPU, Missing, pinned

_RATE = 500  # samples a second


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    mode = next(m for m in MODES if m.name == options.mode)
    try:
        with tempfile.TemporaryDirectory(prefix="farebox-profile-") as name:
            print(_profile(mode, options, Path(name)))
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("mode", nargs="?", default="json64", choices=[m.name for m in MODES])
    made.add_argument("--seconds", type=int, default=8)
    made.add_argument("--top", type=int, default=25, help="functions to show (25)")
    made.add_argument("--native", action="store_true", help="with the frames of C and Cython")
    made.add_argument(
        "--all-threads",
        action="store_true",
        help="threads that wait or work outside of Python, too (default: who holds the interpreter)",
    )
    made.add_argument("--database", help="Farebox's ledger (a new SQLite file), as postgresql://…")
    made.add_argument("--folded", type=Path, help="keep the stacks, as flame graph tools read them")
    return made


def _profile(mode: Mode, options: argparse.Namespace, folder: Path) -> str:
    spy = _py_spy()
    write_answers(folder / "answers")
    settings = FareboxOptions(options.database)
    with (
        mock(folder, folder / "answers") as mock_port,
        farebox(folder, mock_port, settings) as gateway,
    ):
        load(gateway, mode, 1, folder)
        samples: list[Sample] = []
        loading = threading.Thread(
            target=lambda: samples.append(load(gateway, mode, options.seconds + 1, folder))
        )
        loading.start()
        stacks = _stacks(spy, gateway, options, folder / "stacks.folded")
        loading.join()
    if options.folded is not None:
        shutil.copy(folder / "stacks.folded", options.folded)
    sample = samples[0]
    head = f"{mode.title}: {sample.processor_ms:.4f} ms processor a call (sampling included), {sample.errors} errors"
    return "\n".join([head, *top(stacks, options.top)])


def _py_spy() -> str:
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if found is None:
        raise Missing("py-spy is not installed: pip install py-spy")
    return found


def _stacks(spy: str, gateway: Gateway, options: argparse.Namespace, into: Path) -> list[str]:
    command = [spy, "record", "--pid", str(gateway.pid), "--format", "raw", "--output", str(into)]
    command += ["--rate", str(_RATE), "--duration", str(options.seconds), "--function"]
    command += ["--threads", "--subprocesses", *(["--native"] if options.native else [])]
    # Without it, threads that only wait are counted where the system does not tell them apart.
    command += [] if options.native or options.all_threads else ["--gil"]
    subprocess.run(pinned(command, LOAD_CPU), check=True, stdout=subprocess.DEVNULL)
    return into.read_text().splitlines()


def top(stacks: Iterable[str], count: int) -> list[str]:
    """The functions with the most samples of their own, with what they called in brackets."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks:
        stack, _, weight = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(weight)
        for frame in set(frames):
            within[frame] += int(weight)
    total = own.total() or 1
    rows = ["   own  within  function"]
    for frame, samples in own.most_common(count):
        rows.append(f"{samples / total:6.1%}  {within[frame] / total:6.1%}  {frame}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
