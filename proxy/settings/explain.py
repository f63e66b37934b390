"""Pydantic's findings in the words of who writes a configuration."""

from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings import shape
from proxy.settings.document import Document, Path
from proxy.settings.fields import BAD_TYPE
from proxy.settings.suggest import closest, did_you_mean


def refuse_all(document: Document, error: ValidationError) -> None:
    """Note each of pydantic's findings as a problem of the document."""
    for found in error.errors(include_url=False):
        path, is_key = _path(document.tree, found)
        document.refuse(path, _message(document, path, found, is_key=is_key))


def _path(tree: Any, found: ErrorDetails) -> tuple[Path, bool]:
    """The place in the tree; pydantic's has tags of unions and ``[key]`` in between."""
    path: list[str | int] = []
    for part in found["loc"]:
        if shape.hint_at((*path, part)) is not None or _holds(tree, part):
            path.append(part)
            tree = tree[part] if _holds(tree, part) else None
    return tuple(path), found["loc"][-1:] == ("[key]",)


def _holds(tree: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(tree, list) and part < len(tree)
    return isinstance(tree, dict) and part in tree


def _message(document: Document, path: Path, found: ErrorDetails, *, is_key: bool) -> str:
    said = str(found.get("ctx", {}).get("error", ""))
    if is_key:
        return said or "is no name that can stand here"
    match found["type"]:
        case "extra_forbidden":
            return unknown_field(path)
        case "missing":
            return _missing(path)
        case "value_error" if said != BAD_TYPE:
            if shape.section_at(path):
                return said
            return f"{_shown(document, path, found['input'])} {said}"
        case _:
            return _mismatch(document, path, found)


def unknown_field(path: Path) -> str:
    """What to say of a name that no field has."""
    section = shape.section_at(path[:-1])
    known = shape.fields(section) if section else ()
    return f"there is no such field; {did_you_mean(str(path[-1]), known)}"


def _missing(path: Path) -> str:
    expected = shape.expected_at(path)
    example = f": {expected.example}" if expected and expected.example else ""
    return f"is missing; write {path[-1]}{example}"


def _mismatch(document: Document, path: Path, found: ErrorDetails) -> str:
    value = found["input"]
    message = f"expected {_expected(path)}, got {_shown(document, path, value)}"
    if path in document.variables or not isinstance(value, str | bool | int | Decimal):
        return message
    if found["type"] == "string_type":
        return f"{message}; put it into quotes"
    if shape.container_at(path) is list:
        return f"{message}; write it as [{value}]"
    close = closest(str(value), shape.choices_at(path))
    return f"{message}; did you mean {close}?" if close else message


def _expected(path: Path) -> str:
    if container := shape.container_at(path):
        return "a list" if container is list else "lines of 'name: value'"
    if expected := shape.expected_at(path):
        return str(expected)
    if shape.section_at(path):
        return "a group of settings (lines of 'name: value')"
    *others, last = shape.choices_at(path)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(document: Document, path: Path, value: object) -> str:
    expected = shape.expected_at(path)
    if expected and expected.secret and not isinstance(value, list | dict):
        return "the value (not shown)"
    return document.shown(path, value)
