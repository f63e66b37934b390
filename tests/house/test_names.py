"""Nothing in the project names the machine it was made on, or where its packages came from.

What is looked for is put together here from pieces, so that this file does not name it either.
"""

import re
from pathlib import Path

import pytest

HOSTS = (
    ("pypi", "org"),
    ("detsohnohtyp"[::-1], "org"),  # backwards: a search for the name must not find it here
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("crates", "io"),
    ("golang", "org"),
    ("debian", "org"),
    ("ghcr", "io"),
)
OPTIONS = "(?:extra-)?index-url|find-links|trusted-host"
REGISTRY = re.compile(
    "|".join(re.escape(".".join(host)) for host in HOSTS)
    + rf"|--(?:{OPTIONS})\b|\b(?:{OPTIONS}) *="
)
PLACES = ("work/", "root/", "Users/", r"home/(?![$\{])\w")
# Not inside of a longer path or address, where the same word is no place on this machine.
MACHINE_PATH = re.compile(rf"(?<![\w.:/-])/(?:{'|'.join(PLACES)})")
# A reader of the checkout can't look up a number of the tracker.
TRACKER = re.compile(r"\b(?:issues?|tickets?|fixes|closes|PR) #?\d+\b", re.IGNORECASE)
PROSE = {".md", ".py", ".yaml", ".yml", ".toml", ".sh", ""}


@pytest.fixture(scope="module")
def texts(files: tuple[Path, ...], root: Path) -> dict[str, str]:
    """Each text file of the checkout."""
    found = {}
    for path in files:
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            found[str(path.relative_to(root))] = content.decode(errors="replace")
    return found


def test_no_package_registry_is_named(texts: dict[str, str]) -> None:
    assert _found(REGISTRY, texts) == []


def test_no_path_of_a_machine_is_named(texts: dict[str, str]) -> None:
    assert _found(MACHINE_PATH, texts) == []


def test_no_number_of_a_tracker_is_named(texts: dict[str, str]) -> None:
    prose = {name: text for name, text in texts.items() if Path(name).suffix in PROSE}

    assert _found(TRACKER, prose) == []


def test_no_lock_with_addresses_is_tracked(texts: dict[str, str]) -> None:
    """The lock of uv and the standard one hold an index's addresses; ours hold names and hashes."""
    assert set() == {"uv.lock", "pylock.toml", "poetry.lock"} & texts.keys()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("pip install --index-" + "url X", REGISTRY),
        ("https://files.python" + "hosted.org/packages", REGISTRY),
        ("see /ro" + "ot/notes", MACHINE_PATH),
        ("`/ho" + "me/anna`", MACHINE_PATH),
        ("as issue " + "7 says", TRACKER),
    ],
)
def test_the_patterns_find_what_they_should(text: str, pattern: re.Pattern[str]) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("https://api.openai.com/v1", REGISTRY),
        ("/var/lib/farebox", MACHINE_PATH),
        ("https://host/ro" + "ot/x", MACHINE_PATH),
        ("color: #888; the issue is 2 cents", TRACKER),
    ],
)
def test_the_patterns_find_nothing_else(text: str, pattern: re.Pattern[str]) -> None:
    assert not pattern.search(text)


def _found(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}"
        for name, text in texts.items()
        for match in pattern.finditer(text)
    ]
