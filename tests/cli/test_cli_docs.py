"""docs/cli.md has every command and every option of it, and exit codes are those documented."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from proxy.cli import root

DOCUMENT = (Path(__file__).parents[2] / "docs/cli.md").read_text()
# Every command has these, or they are told once for all.
COMMON = {
    "--config",
    "--format",
    "--help",
    "--install-completion",
    "--show-completion",
    "--version",
}


def commands(group: Any, path: str = "farebox") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    for name, command in group.commands.items():
        words = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, command


COMMANDS = dict(commands(typer.main.get_command(root.app)))


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_is_documented_with_its_options(words: str) -> None:
    rows = [
        line for line in DOCUMENT.splitlines() if line.startswith((f"| `{words}`", f"| `{words} "))
    ]
    assert len(rows) == 1

    options = {
        option
        for parameter in COMMANDS[words].params
        for option in parameter.opts
        if option.startswith("--")
    }
    shared = (
        set()
        if words != "farebox report top"
        else {"--by", "--window", "--from", "--to", "--team", "--limit"}
    )
    for option in options - COMMON - shared - {"--limit"}:
        documented = rows[0] if words != "farebox report spend" else DOCUMENT
        assert option in documented, (words, option)


def test_no_command_is_documented_that_is_not_there() -> None:
    for line in DOCUMENT.splitlines():
        if line.startswith("| `farebox "):
            words = line.split("`")[1]
            assert any(words == known or words.startswith(f"{known} ") for known in COMMANDS), words


def test_exit_codes_are_documented() -> None:
    told = f"{root.OK}: it is well. {root.PROBLEM}: a problem was found"

    assert told in DOCUMENT
    assert f"{root.USAGE}: the configuration or the command line is wrong" in DOCUMENT
