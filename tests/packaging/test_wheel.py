"""An installed wheel finds what a checkout has beside the package: migrations, configuration, prices."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FIND_MIGRATIONS = """
import sys
sys.path.insert(0, sys.argv[1])
from proxy.store.migrate import script_location
print(script_location())
"""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files of the wheel."""
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_migration(root: Path, names: set[str]) -> None:
    folder = root / "migrations"
    expected = {
        f"proxy/_migrations/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert "proxy/_migrations/env.py" in expected
    assert expected <= names


def test_the_wheel_holds_the_sample_configuration(names: set[str]) -> None:
    assert "proxy/_config/farebox.yaml" in names


def test_the_wheel_holds_the_data_of_the_package(root: Path, names: set[str]) -> None:
    """Prices, templates, styles: whatever lies in the package."""
    expected = {
        path.relative_to(root).as_posix()
        for path in (root / "proxy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert expected <= names


def test_the_wheel_holds_nothing_else(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}

    assert {"proxy"} == {top for top in tops if not top.endswith(".dist-info")}
    assert not {name for name in names if "__pycache__" in name}


def test_the_wheel_brings_its_licence_and_command(wheel: Path, names: set[str]) -> None:
    (licence,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
    (commands,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    archive = zipfile.ZipFile(wheel)

    assert "Copyright 2026 The Farebox authors" in archive.read(licence).decode()
    assert "farebox = proxy.cli:main" in archive.read(commands).decode()


def test_the_migrations_are_found_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """From any folder, as pip installs it."""
    zipfile.ZipFile(wheel).extractall(tmp_path)

    found = subprocess.run(
        [sys.executable, "-I", "-c", FIND_MIGRATIONS, str(tmp_path)],
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )

    assert str(tmp_path / "proxy" / "_migrations") == found.stdout.strip()
