"""A configuration as a tree that remembers where each value was written, and what is wrong with it."""

import re
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

_SHOWN = 60  # characters of a value that a message repeats


def dotted(path: Path) -> str:
    """``models[2].upstream``: how messages name a place in the configuration."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def show(value: object) -> str:
    """A value in the words of the file."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            # A URL may hold a password, or a key in its query.
            plain = re.sub(r"://.*@", "://…@", value, flags=re.DOTALL)
            plain = re.sub(r"(://[^?]*\?).*", r"\1…", plain, flags=re.DOTALL)
            return repr(plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…")
        case list():
            return "a list"
        case dict():
            return "a group of settings"
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what to write instead. Holds no secret."""

    place: str  # file:line, or the environment variable
    path: Path
    message: str
    line: int = 0

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, dotted(self.path), self.message) if part)


@dataclass(slots=True)
class Document:
    """The tree of one configuration. At most one problem is kept for a path: the first."""

    file: str = ""  # "" where there is none: then everything comes from the environment
    tree: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    overridden: dict[Path, str] = field(default_factory=dict)  # by which environment variable
    variables: dict[Path, str] = field(default_factory=dict)  # filled in from these: never shown
    mentioned: set[str] = field(default_factory=set)  # every variable that the file names
    problems: dict[Path, Problem] = field(default_factory=dict)

    def refuse(self, path: Path, message: str, *, line: int | None = None) -> None:
        """Note a problem with the value at this path, unless one is noted already."""
        if path in self.problems:
            return
        if path in self.overridden:
            place, line = f"environment variable {self.overridden[path]}", 0
        else:
            line = self._line(path) if line is None else line
            place = f"{self.file}:{line}" if line else self.file
        self.problems[path] = Problem(place, path, message, line)

    def refuse_variable(self, name: str, message: str) -> None:
        """Note a problem with an environment variable that sets nothing."""
        self.problems[("", name)] = Problem(f"environment variable {name}", (), message)

    def _line(self, path: Path) -> int:
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def shown(self, path: Path, value: object) -> str:
        """A value for a message. What came from a variable may be a secret in the wrong place."""
        if path in self.variables:
            return f"the value of {self.variables[path]} (not shown)"
        return show(value)
