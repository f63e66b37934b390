"""The environment over the file: ``FAREBOX_LEDGER__UNAVAILABLE=allow`` sets ``ledger.unavailable``."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.settings import shape
from proxy.settings.budgets import Section
from proxy.settings.document import Document, Path, dotted
from proxy.settings.models import Settings
from proxy.settings.suggest import closest

PREFIX = "FAREBOX_"
ELSEWHERE = re.compile(r"FAREBOX_(CONFIG|EXCHANGES|TEST_.*|BENCH_.*)")  # read by others
# Kubernetes gives every pod the address of a service named "farebox" in these words.
_SERVICE_LINK = re.compile(r"FAREBOX_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def override(document: Document, env: Mapping[str, str]) -> None:
    """Put what the environment says over the tree. An empty variable is one that is not set."""
    for name in sorted(env):
        if name.startswith(PREFIX) and env[name] and not _is_for_others(name, env[name]):
            _set(document, name, env[name])


def _is_for_others(name: str, value: str) -> bool:
    if name == "FAREBOX_PORT" and _SERVICE_URL.match(value):
        return True
    return bool(ELSEWHERE.fullmatch(name) or _SERVICE_LINK.fullmatch(name))


def _set(document: Document, name: str, value: str) -> None:
    path = _path(document.tree, name.removeprefix(PREFIX).split("__"))
    hint = shape.hint_at(path) if path else None
    if hint is None:
        if name not in document.mentioned:  # the file may use any name, also one of ours
            document.refuse_variable(name, f"sets nothing; {_meant(name, path)}")
    elif shape.container_at(path) is list:
        document.refuse_variable(
            name, f"can't set {dotted(path)}, which is a list; write it in the file"
        )
    elif shape.container_at(path) or (shape.section_at(path) and not shape.choices_at(path)):
        document.refuse_variable(
            name, f"names a group of settings; set one of it, like {_one_of(name, path)}"
        )
    elif _put(document.tree, path, value):
        document.overridden[path] = name
        document.variables.pop(path, None)
        document.problems.pop(path, None)


def _meant(name: str, path: Path) -> str:
    """The variable that was meant, by its whole name or by its last part."""
    known = variables()
    group = path[:-1]
    if group and (section := shape.section_at(group)):
        known += [
            f"{name.rpartition('__')[0]}__{field.upper()}"
            for field in shape.fields(section)
            if not shape.container_at((*group, field))
        ]
    names = {full.rpartition("__")[2].removeprefix(PREFIX): full for full in known}
    names |= {full.removeprefix(PREFIX): full for full in known}
    meant = closest(name.removeprefix(PREFIX), names)
    return f"did you mean {names[meant]}?" if meant else "correct its name, or remove it"


def _one_of(name: str, path: Path) -> str:
    if path == ("upstreams",):
        return f"{name}__OPENAI__API_KEY"
    section = shape.section_at(path)
    return f"{name}__{next(iter(shape.fields(section))).upper()}" if section else f"{name}__NAME"


def _path(tree: Any, parts: list[str]) -> Path:
    """The path that a variable's name means: in lower case, or as the file writes an upstream's name."""
    path: Path = ()
    for part in parts:
        written = tree if isinstance(tree, dict) else {}
        name = next((n for n in written if _as_variable(n) == part), part.lower())
        path = (*path, name)
        tree = written.get(name)
    return path


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())


def _put(tree: Any, path: Path, value: str) -> bool:
    """Set the value, where the tree above it is as it should be: else that is the file's problem."""
    for i, part in enumerate(path[:-1], start=1):
        if tree.get(part) is None or (isinstance(tree[part], str) and shape.choices_at(path[:i])):
            tree[part] = {}  # absent, or a word where a group may stand too
        tree = tree[part]
        if not isinstance(tree, dict):
            return False
    tree[path[-1]] = value
    return True


def variables() -> list[str]:
    """Every variable that sets a field outside of lists and upstreams."""
    return sorted(PREFIX + "__".join(path).upper() for path in _scalars(Settings, ()))


def _scalars(section: type[Section], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name in shape.fields(section):
        path = (*above, name)
        below = shape.section_at(path)
        if shape.container_at(path):
            continue
        if below and not shape.choices_at(path):
            yield from _scalars(below, path)
        else:
            yield path
