"""docs/calls.md tells applications every error that they can see, and every header."""

import re
from pathlib import Path

from proxy.core.errors import Refusal

DOCUMENT = (Path(__file__).parents[2] / "docs/calls.md").read_text()
SOURCE = Path(__file__).parents[2] / "proxy/gateway"


def refusals(of: type[Refusal]) -> set[type[Refusal]]:
    """It, and everything below it."""
    return {of}.union(*(refusals(below) for below in of.__subclasses__()))


def test_every_error_is_told_with_its_status() -> None:
    """And none that there is not."""
    told = {
        (int(status), code)
        for statuses, code in re.findall(r"^\| ([\d, ]+) \| `(\w+)` \|", DOCUMENT, re.MULTILINE)
        for status in statuses.split(", ")
    }

    assert told == {(one.status, one.code) for one in refusals(Refusal)}


def test_every_header_is_told() -> None:
    """What a client may send, and what it gets."""
    used = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r'"(x-farebox-[\w-]+\w)"', path.read_text())
    }

    assert used
    assert {name for name in used if f"`{name}`" not in DOCUMENT} == set()
