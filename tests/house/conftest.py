"""What the house's rules are checked on: the files of the checkout."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files(root: Path) -> tuple[Path, ...]:
    """Every file that git tracks, or would if it were added. Skips where there is no repository."""
    if not (root / ".git").exists():
        pytest.skip("not a checkout: there is no telling which files belong to the project")
    git = ("git", "-C", str(root), "-c", f"safe.directory={root}")
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (root / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@pytest.fixture(scope="session")
def sources(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Every Python file."""
    return tuple(path for path in files if path.suffix == ".py")
