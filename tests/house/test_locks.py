"""The lock files hold what pyproject.toml asks for: pinned, hashed, and nothing about where from."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(
    r"^(?P<requirement>[^\s\\#]+(?: ; [^\\]+)?) \\\n(?P<hashes>(?: +--hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}$")
LOCKS = ("requirements.lock", "requirements.run.lock", "requirements.build.lock")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def locks(root: Path) -> dict[str, dict[str, str]]:
    """The version of each package, by lock file."""
    return {name: pins((root / name).read_text()) for name in LOCKS}


def pins(text: str) -> dict[str, str]:
    """Package to version."""
    found = (Requirement(match["requirement"]) for match in PIN.finditer(text))
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in found}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_nothing_but_pins_with_hashes(root: Path, name: str) -> None:
    """No address, no option, no comment: whoever installs from it says where from."""
    text = (root / name).read_text()

    assert PIN.sub("", text) == ""
    assert [
        line
        for line in text.splitlines()
        if line.startswith(" ") and not HASH.search(line.rstrip(" \\"))
    ] == []


def test_what_the_package_needs_is_in_the_locks_for_running_and_developing(
    project: dict[str, Any], locks: dict[str, dict[str, str]]
) -> None:
    wanted = [Requirement(text) for text in project["project"]["dependencies"]]

    assert unmet(wanted, locks["requirements.run.lock"]) == []
    assert unmet(wanted, locks["requirements.lock"]) == []


def test_every_group_is_in_the_lock_for_developing(
    project: dict[str, Any], locks: dict[str, dict[str, str]]
) -> None:
    assert unmet(group(project, "dev"), locks["requirements.lock"]) == []


def test_what_builds_the_wheel_is_in_the_lock_for_building(
    project: dict[str, Any], locks: dict[str, dict[str, str]]
) -> None:
    wanted = [Requirement(text) for text in project["build-system"]["requires"]]

    assert unmet(wanted + group(project, "build"), locks["requirements.build.lock"]) == []


@pytest.mark.parametrize("name", LOCKS[1:])
def test_the_image_has_the_versions_that_were_tested(
    locks: dict[str, dict[str, str]], name: str
) -> None:
    assert dict(locks[name].items() - locks["requirements.lock"].items()) == {}


def test_nothing_for_developing_is_in_the_image(
    project: dict[str, Any], locks: dict[str, dict[str, str]]
) -> None:
    """But for what a dependency of the package itself needs, too."""
    needed = {canonicalize_name(Requirement(t).name) for t in project["project"]["dependencies"]}
    tools = {canonicalize_name(r.name) for r in group(project, "dev")} - needed

    assert set() == tools & locks["requirements.run.lock"].keys()


def group(project: dict[str, Any], name: str) -> list[Requirement]:
    """A dependency group with those that it includes."""
    found = []
    for entry in project["dependency-groups"][name]:
        if isinstance(entry, dict):
            found += group(project, entry["include-group"])
        else:
            found.append(Requirement(entry))
    return found


def unmet(wanted: list[Requirement], pinned: dict[str, str]) -> list[str]:
    """The requirements that the pins do not meet."""
    return [
        str(r)
        for r in wanted
        if not r.specifier.contains(
            pinned.get(canonicalize_name(r.name), "0.dev0"), prereleases=True
        )
        or canonicalize_name(r.name) not in pinned
    ]
