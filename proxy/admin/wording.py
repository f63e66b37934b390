"""Pydantic's findings in the words of who sent a request: what a field must be, and not what a library calls it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

_TIME: Final = "must be a time with its zone, like 2026-01-31T12:00:00Z"
_WORDS: Final = {
    "too_short": "is empty",
    "extra_forbidden": "there is no such field or parameter; /admin/docs lists those that there are",
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "decimal_parsing": "must be an amount like 500 or 0.05",
    "decimal_type": "must be an amount like 500 or 0.05",
    "timezone_aware": _TIME,
}
_BODY: Final = "The body must be a JSON object"


def explained(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> tuple[str, str | None]:
    """What to say, and the field that it is about. ``skip`` parts of a place are not the sender's."""
    told = [_one(error, error["loc"][skip:]) for error in errors]
    message = "; ".join(f"{where}: {what}" if where else what for where, what in told)
    return message, told[0][0] or None


def _one(error: Mapping[str, Any], place: tuple[str | int, ...]) -> tuple[str, str]:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "json_invalid":
        return "", f"{_BODY}; it is not valid JSON: {context.get('error', 'it ends too soon')}"
    where = ".".join(str(part) for part in place)
    if not where and kind.endswith(("_type", "missing")):
        return "", f"{_BODY}."
    return where, _words(kind, context, str(error["msg"]))


def _words(kind: str, context: Mapping[str, Any], said: str) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if kind.startswith(("datetime", "date_")):
        return _TIME
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case _:
            return said.removeprefix("Value error, ").replace("Input should be", "must be")
