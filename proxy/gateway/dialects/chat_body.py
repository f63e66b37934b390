"""Parses a chat request's body, once, and keeps what stands around its messages apart.

Nearly all of a body are its messages, and none of the members that decide the cost: whoever looks for
a member's name in the bytes, looks for it around them.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice

Json = dict[str, Any]

_SHORT = 2048  # bytes; to look through the whole is quicker then
_MESSAGES = b'"messages"'
_BACKSLASH = ord("\\")
_END_OF_MESSAGE = b'"}'  # tools, parts and schemas end otherwise
_BEFORE_ARRAY = re.compile(rb'"messages"[ \t\n\r]*+:[ \t\n\r]*+(?=\[)')


def read_body(body: bytes) -> tuple[Json, bytes]:
    """The parsed body, and its bytes with an empty array in place of its messages.

    The bytes are all of it where that is in doubt. Raises InvalidRequest where it is no JSON object.
    """
    if len(body) > _SHORT and (found := _split(body)):
        return found
    return parse(body), body


def _split(body: bytes) -> tuple[Json, bytes] | None:
    """The same, where the messages are an array that is easily found; else None.

    Where it ends is guessed, and proven by parsing: what is valid JSON with an empty array in that
    place, and has another array there, is one document with that array. It is the top-level one,
    because there is no other of that name around it, and the document has one.
    """
    at = body.find(_MESSAGES)
    name = _BEFORE_ARRAY.match(body, at) if at > 0 else None
    if name is None or body[at - 1] == _BACKSLASH:
        return None
    start, last = name.end(), body.rfind(b"]")
    end = last + 1 if body.endswith(_END_OF_MESSAGE, start, last) else _array_end(body, start)
    around = b"%b[]%b" % (body[:start], body[end:])
    if around.rfind(_MESSAGES) != at or splice.spells_letters(around):
        return None
    try:
        document = orjson.loads(around)
        messages = orjson.loads(body[start:end])
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or "messages" not in document:
        return None
    document["messages"] = messages
    return document, around


class _Messages(Struct):
    messages: Raw


_read_messages: Callable[[bytes], _Messages] = Decoder(_Messages).decode


def _array_end(body: bytes, start: int) -> int:
    """Where the messages end, of which nothing is made; ``start`` where that can't be seen."""
    try:
        return start + len(_read_messages(body).messages)
    except (DecodeError, RecursionError):
        return start


def parse(body: bytes) -> Json:
    """The whole body, parsed at once. Raises InvalidRequest."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_lone_surrogates(body, error)
    if type(document) is not dict:
        raise InvalidRequest("The body must be a JSON object.")
    return document


def _parse_lone_surrogates(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Half an emoji is what JavaScript makes of a text cut in the wrong place; providers take it.

    It is read as U+FFFD here and goes upstream as it came. What else orjson refuses is refused.
    """
    if not body.strip():
        raise InvalidRequest("The body is empty; it must be a JSON object.") from None
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InvalidRequest(
            "The body is not valid JSON: it starts with a byte order mark; send plain UTF-8."
        ) from None
    refusal = InvalidRequest(
        f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
    )
    if re.search(rb"\\u[dD][89a-fA-F]", body) is None:
        raise refusal from None
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
        text = json.dumps(document, ensure_ascii=False)
        return orjson.loads(
            text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        )
    except (ValueError, RecursionError):
        raise refusal from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
