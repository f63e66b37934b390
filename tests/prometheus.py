"""Prometheus and its promtool for the tests: Debian's package, unpacked or installed.

``FAREBOX_TEST_PROMETHEUS`` names the folder of the programs, and then they must be there: so CI skips
nothing. Else they are looked for where ``.ci/run`` unpacks them, then on the path.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[1] / ".prometheus/usr/bin"


def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``; skips the test where it is absent."""
    if folder := os.environ.get("FAREBOX_TEST_PROMETHEUS"):
        assert (Path(folder) / name).is_file(), f"no {name} in FAREBOX_TEST_PROMETHEUS={folder}"
        return str(Path(folder) / name)
    found = shutil.which(name, path=str(UNPACKED)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is absent; .ci/run unpacks it into .prometheus")
    return found


def promtool(*arguments: str | Path, stdin: str | None = None) -> None:
    """Run promtool; what it says is the failure."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
    )
    assert done.returncode == 0, done.stdout + done.stderr
