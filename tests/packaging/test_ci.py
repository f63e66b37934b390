"""``.ci/run`` sets up, lints and tests in an emptied environment, and fails with its first failing step."""

import subprocess
from pathlib import Path

import pytest

MAKE = """#!/bin/sh
for last; do :; done
echo "$last" >> "$(dirname "$0")/asked"
[ "$last" != "{failing}" ]
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for a make of our own, before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def run(root: Path, tools: Path, failing: str) -> tuple[int, list[str]]:
    """Its exit code, and the targets that it asked make for."""
    make = tools / "make"
    make.write_text(MAKE.format(failing=failing))
    make.chmod(0o755)
    done = subprocess.run(
        [root / ".ci/run"],
        env={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, (tools / "asked").read_text().split()


@pytest.mark.parametrize(
    ("failing", "asked"),
    [
        (".venv/.ready", [".venv/.ready"]),
        ("lint", [".venv/.ready", "lint"]),
        ("test", [".venv/.ready", "lint", "test"]),
    ],
)
def test_a_failing_step_is_the_last(
    root: Path, tools: Path, failing: str, asked: list[str]
) -> None:
    code, targets = run(root, tools, failing)

    assert code != 0
    assert targets == asked


def test_all_steps_well_is_well(root: Path, tools: Path) -> None:
    code, targets = run(root, tools, failing="nothing")

    assert (code, targets) == (0, [".venv/.ready", "lint", "test"])
