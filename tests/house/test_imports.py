"""Imports point one way, and no package of the house stands outside of that rule."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from importlinter.cli import lint_imports


@pytest.fixture(scope="module")
def contracts(root: Path) -> list[dict[str, Any]]:
    """The contracts of pyproject.toml."""
    document = tomllib.loads((root / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = document["tool"]["importlinter"]["contracts"]
    return found


def test_every_contract_is_kept(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would disable every logger that there is, for all tests after this one.
    monkeypatch.setattr("importlinter.cli.logging_config.dictConfig", lambda _: None)

    code = lint_imports(config_filename=str(root / "pyproject.toml"), no_cache=True, no_logo=True)

    assert code == 0, capsys.readouterr().out


def test_every_package_has_its_place(root: Path, contracts: list[dict[str, Any]]) -> None:
    """A package is a layer, or a contract says what it may not import."""
    packages = {f"proxy.{p.parent.name}" for p in (root / "proxy").glob("*/__init__.py")}
    placed: set[str] = set()
    for contract in contracts:
        for layer in contract.get("layers", ()):
            placed.update(name.strip() for name in layer.split("|"))
        if contract["type"] == "forbidden":
            placed.update(contract["source_modules"])

    assert set() == packages - placed
