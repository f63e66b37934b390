"""What every dialect checks of a JSON body before anything goes upstream, and nothing more.

Only what Farebox decides by is checked: the upstream judges the rest, in its own words. Null means
absent, as it does for every provider.
"""

from collections.abc import Container, Mapping
from typing import Any, Final

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.chat_body import Json, parse

DEEPEST = 64  # levels of nesting
_QUICKLY_COUNTED = 4_096  # bytes
_LONGEST_NAME = 512  # characters of a model or user, which become columns of the ledger

Types = Mapping[str, tuple[type, str]]  # a member's type, and how a message says it

FLAG: Final = (bool, "true or false")
TEXT: Final = (str, "a string")
OBJECT: Final = (dict, "an object")


def decisive(*names: str) -> dict[str, bytes]:
    """The members that decide the model, the cost or the shape of the answer, as they are written."""
    return {name: f'"{name}"'.encode() for name in names}


def read_object(body: bytes, names: Mapping[str, bytes], types: Types) -> Json:
    """The parsed body. Raises InvalidRequest where it is no object, or could be read in two ways."""
    document = parse(body)
    refuse_doubtful_names(body, body, document, names)
    refuse_wrong_types(document, types)
    if not is_shallow(body):
        refuse_depth(document)
    return document


def model_name(model: object) -> str:
    """A model's name. Raises InvalidRequest where it is none."""
    if type(model) is not str or not model:
        raise wrong("model", "a model's name, as a string", model)
    if len(model) > _LONGEST_NAME or not model.isprintable() or "\ufffd" in model:
        raise InvalidRequest("'model' is not a model's name.", param="model")
    return model


def whole_number(value: object, param: str, least: int = 1) -> int | None:
    """A limit; None where there is none. Raises InvalidRequest."""
    if value is None:
        return None
    if type(value) is not int or value < least:
        raise wrong(param, f"a whole number of tokens, at least {least}", value)
    return value


def shown(text: object) -> str:
    """A text as short as a column takes, and without NUL, which PostgreSQL's can't hold."""
    return text[:_LONGEST_NAME].replace("\x00", "") if text and type(text) is str else ""


def refuse_doubtful_names(
    body: bytes, around: bytes, document: Json, names: Mapping[str, bytes]
) -> None:
    """Refuse a decisive name that is given twice, or in other letters.

    Readers disagree about those (first or last wins; Go reads "Model" as "model"), so that a body
    could mean one thing here and another upstream. ``around`` is the part of the body in which names
    are looked for.
    """
    doubtful = splice.spells_letters(around)
    for name in document:
        quoted = names.get(name)
        if quoted is None:
            if not name.islower() and (ours := name.casefold()) in names:
                raise InvalidRequest(f"'{name[:64]}' must be written '{ours}'.", param=ours)
        elif not doubtful and around.find(quoted) != around.rfind(quoted):
            doubtful = True  # the other may be nested, or a value
    if doubtful:
        refuse_repeated(splice.members(body), names)


def refuse_repeated(found: list[splice.Member], names: Container[str], prefix: str = "") -> None:
    """Refuse a member that is given twice."""
    seen: set[str] = set()
    for member in found:
        if member.name in seen and member.name in names:
            param = prefix + member.name
            raise InvalidRequest(f"'{param}' is given twice; give it once.", param=param)
        seen.add(member.name)


def refuse_wrong_types(document: Json, types: Types) -> None:
    """Refuse a member that is not of its type; null is absent."""
    for name in types.keys() & document.keys():
        kind, what = types[name]
        value = document[name]
        if type(value) is not kind and value is not None:
            raise wrong(name, what, value)


def is_shallow(text: bytes) -> bool:
    """Whether there are too few brackets for any depth; looked at only where that is quick."""
    return len(text) <= _QUICKLY_COUNTED and text.count(b"{") + text.count(b"[") <= DEEPEST


def refuse_depth(document: Json) -> None:
    """Refuse a document that is nested deeper than anything sensible."""
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise InvalidRequest(f"The body is nested deeper than {DEEPEST} levels.")


def wrong(name: str, what: str, value: object) -> InvalidRequest:
    """The refusal of a member that is missing, or not what it must be."""
    if value is None:
        return InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    return InvalidRequest(f"'{name}' must be {what}, not {_kind(value)}.", param=name)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    return "an array" if isinstance(value, list) else "an object"
