"""Reads members of a request's body, whichever of their spellings was used, and edits them in place.

Google's servers take each name in two spellings, ``maxOutputTokens`` and ``max_output_tokens``; AWS's
take one. A body that gives a member twice, or in other letters than a server reads, could mean one
thing here and another upstream: it is refused.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice

Json = dict[str, Any]
_MOST_TOKENS: Final = 2**31 - 1


def member(document: Json, *names: str) -> Any:
    """The value under the first of these names that is there and not null."""
    for name in names:
        value = document.get(name)
        if value is not None:
            return value
    return None


def inner(document: Json, *names: str, path: str = "") -> Json:
    """The object under one of these names; an empty one where there is none. Raises InvalidRequest."""
    value = member(document, *names)
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidRequest(f"'{path}{names[0]}' must be an object.", param=path + names[0])
    return value


def items(document: Json, *names: str) -> list[Any]:
    """The array under one of these names; an empty one where there is none. Raises InvalidRequest."""
    value = member(document, *names)
    if value is None:
        return []
    if type(value) is not list:
        raise InvalidRequest(f"'{names[0]}' must be an array.", param=names[0])
    return value


def whole(value: object, param: str) -> int | None:
    """A count of at least 1, as JSON and protobuf's JSON write it; None where absent. Raises InvalidRequest."""
    if value is None:
        return None
    number = value
    if type(number) is str and number.isascii() and number.isdigit() and len(number) < 12:  # noqa: PLR2004
        number = int(number)
    if type(number) is float and number.is_integer():
        number = int(number)
    if type(number) is not int or not 1 <= number <= _MOST_TOKENS:
        raise InvalidRequest(f"'{param}' must be a whole number, at least 1.", param=param)
    return number


def refuse_doubtful(body: bytes, decisive: Iterable[tuple[str, ...]], start: int = 0) -> None:
    """Refuse an object that gives a decisive member twice, or in letters that no server reads.

    ``decisive`` has for each member its spellings. Raises InvalidRequest.
    """
    folded = {_folded(name): names for names in decisive for name in names}
    seen: set[tuple[str, ...]] = set()
    for found in splice.members(body, start):
        names = folded.get(_folded(found.name))
        if names is None:
            continue
        if found.name not in names:
            raise InvalidRequest(
                f"'{found.name[:64]}' must be written '{names[0]}'.", param=names[0]
            )
        if names in seen:
            raise InvalidRequest(f"'{names[0]}' is given twice; give it once.", param=names[0])
        seen.add(names)


def set_number(body: bytes, path: tuple[tuple[str, ...], ...], number: int) -> bytes:
    """The body with this number at the path, whose steps each have one name or more.

    What is on the way there is kept, and made where it is absent (by its first name).
    """
    start = 0
    for depth, names in enumerate(path):
        found = next((m for m in splice.members(body, start) if m.name in names), None)
        last = depth + 1 == len(path)
        if found is not None and (last or body[found.value[0] : found.value[0] + 1] == b"{"):
            if last:
                return splice.apply(body, [(*found.value, b"%d" % number)])
            start = found.value[0]
            continue
        value = _nested(path[depth + 1 :], number)
        if found is not None:  # null
            return splice.apply(body, [(*found.value, value)])
        span = (start, splice.value_end(body, start)) if start else None
        edit = splice.insertion(body, b'"%b":%b' % (names[0].encode(), value), span)
        return splice.apply(body, [edit])
    return body


def set_text(body: bytes, names: tuple[str, ...], text: str) -> bytes:
    """The body with this text in the place of a top-level member that is there."""
    found = next((m for m in splice.members(body) if m.name in names), None)
    if found is None:
        return body
    return splice.apply(body, [(*found.value, orjson.dumps(text))])


def _nested(path: tuple[tuple[str, ...], ...], number: int) -> bytes:
    value = b"%d" % number
    for names in reversed(path):
        value = b'{"%b":%b}' % (names[0].encode(), value)
    return value


def _folded(name: str) -> str:
    return name.replace("_", "").casefold()
