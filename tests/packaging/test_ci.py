"""``.ci/run`` sets up, lints and tests in an emptied environment, and fails with its first failing step."""

import shutil
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
    """A folder for a make of our own, before all others, and for what need not be installed here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "chromium").write_text("#!/bin/sh\n")
    (folder / "chromium").chmod(0o755)
    return folder


def run(root: Path, tools: Path, failing: str) -> tuple[int, list[str]]:
    """Its exit code, and the targets that it asked make for."""
    make = tools / "make"
    make.write_text(MAKE.format(failing=failing))
    make.chmod(0o755)
    promtool = tools / "promtool"
    promtool.write_text("#!/bin/sh\n")
    promtool.chmod(0o755)
    path = f"{tools}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        [root / ".ci/run"],
        env={"PATH": path, "FAREBOX_TEST_PROMETHEUS": str(tools)},
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
        ("soak", [".venv/.ready", "lint", "test", "soak"]),
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

    assert (code, targets) == (0, [".venv/.ready", "lint", "test", "soak"])


def test_prometheus_is_unpacked_where_it_is_absent(root: Path, tmp_path: Path, tools: Path) -> None:
    """From Debian's package, and the tests are told where; a second run takes what is there."""
    checkout = tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(root / ".ci/run", checkout / ".ci/run")
    written = {
        "make": f'#!/bin/sh\necho "$FAREBOX_TEST_PROMETHEUS" >> {tmp_path}/told\n',
        "apt-get": f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ntouch prometheus_2_amd64.deb\n',
        "dpkg-deb": '#!/bin/sh\nmkdir -p "$3/usr/bin"\nprintf "#!/bin/sh\\n" > "$3/usr/bin/promtool"\n'
        'chmod +x "$3/usr/bin/promtool"\n',
    }
    for name, text in written.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    for _ in range(2):
        subprocess.run(
            [checkout / ".ci/run"],
            env={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"},
            check=True,
            capture_output=True,
        )

    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["download -qq prometheus"]
    told = set((tmp_path / "told").read_text().split())
    assert told == {str(checkout / ".prometheus/usr/bin")}
