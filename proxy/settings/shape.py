"""What the configuration may hold at a path, read from the models' own type hints."""

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from proxy.settings.budgets import Section
from proxy.settings.document import Path
from proxy.settings.fields import Expected
from proxy.settings.models import Settings


@cache
def fields(section: type[Section]) -> dict[str, Any]:
    """The hint of each field of a section, by name."""
    hints = get_type_hints(section, include_extras=True)
    return {name: hints[name] for name in section.model_fields}


def hint_at(path: Path) -> Any:
    """The type hint of the value at a path; None where nothing may stand."""
    hint: Any = Settings
    for part in path:
        hint = _below(hint, part)
    return hint


def _below(hint: Any, part: str | int) -> Any:
    for kind in _kinds(hint):
        if isinstance(kind, type) and issubclass(kind, Section) and part in fields(kind):
            return fields(kind)[str(part)]
        if get_origin(kind) is list and isinstance(part, int):
            return get_args(kind)[0]
        if get_origin(kind) is dict and isinstance(part, str):
            return get_args(kind)[1]
    return None


def section_at(path: Path) -> type[Section] | None:
    """The section at a path: what has fields there."""
    for kind in _kinds(hint_at(path)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def container_at(path: Path) -> type | None:
    """``list`` or ``dict``, where the path takes one."""
    for kind in _kinds(hint_at(path)):
        origin = get_origin(kind)
        if origin in {list, dict}:
            return list if origin is list else dict
    return None


def choices_at(path: Path) -> tuple[str, ...]:
    """The words that a field takes, where it takes only certain ones."""
    return tuple(
        w for kind in _kinds(hint_at(path)) if get_origin(kind) is Literal for w in get_args(kind)
    )


def expected_at(path: Path) -> Expected | None:
    """The words that explain what a field takes."""
    return _expected(hint_at(path))


def _expected(hint: Any) -> Expected | None:
    if get_origin(hint) is Annotated:
        own = (m for m in hint.__metadata__ if isinstance(m, Expected))
        return next(own, None) or _expected(hint.__origin__)
    if get_origin(hint) in {Union, UnionType}:
        return next((e for arg in get_args(hint) if (e := _expected(arg))), None)
    return None


def _kinds(hint: Any) -> Iterator[Any]:
    """The plain types behind annotations and unions."""
    if get_origin(hint) is Annotated:
        yield from _kinds(hint.__origin__)
    elif get_origin(hint) in {Union, UnionType}:
        for arg in get_args(hint):
            yield from _kinds(arg)
    else:
        yield hint
