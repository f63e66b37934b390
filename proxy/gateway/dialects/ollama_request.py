"""Requests of Ollama's own API: chat, generate and embed."""

from collections.abc import Iterator
from typing import Final

from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.body_check import (
    OBJECT,
    Types,
    decisive,
    model_name,
    read_object,
    refuse_repeated,
    wrong,
)
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.json_text import json_text, objects

LIMIT: Final = "num_predict"
_DECISIVE: Final = decisive(
    "images", "input", "messages", "model", "options", "prompt", "stream", "tools"
)
_TYPES: Final[Types] = {"options": OBJECT, "stream": (bool, "true or false")}
# A picture is cut into patches of which any model takes at most so many (Qwen 3's).
_PICTURE: Final = 16_384
_SPOKEN: Final = ("system", "prompt", "suffix", "input")
_WRITTEN: Final = ("tools", "format")


def inspect(body: bytes, *, makes_text: bool) -> RequestFacts:
    """Read a request. Raises InvalidRequest, naming the parameter.

    It is streamed unless it says otherwise, and its answer has no end unless it says one.
    """
    document = read_object(body, _DECISIVE, _TYPES)
    model = model_name(document.get("model"))
    return RequestFacts(
        model=model,
        stream=makes_text and document.get("stream") is not False,
        output_limit=_limit(body, document.get("options") or {}) if makes_text else None,
        output_limit_name=f"options.{LIMIT}",
        has_tools=bool(document.get("tools")),
        more_input=_pictures(document) * _PICTURE,
        makes_text=makes_text,
        document=document,
    )


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that the model reads."""
    for name in _SPOKEN:
        said = document.get(name)
        for text in said if isinstance(said, list) else [said]:
            if isinstance(text, str):
                yield text
    for message in objects(document.get("messages")):
        for name in ("content", "thinking"):
            if isinstance(message.get(name), str):
                yield message[name]
        if message.get("tool_calls"):
            yield json_text(message["tool_calls"])
    for name in _WRITTEN:
        if document.get(name) and document[name] != "json":
            yield json_text(document[name])


def _limit(body: bytes, options: Json) -> int | None:
    """The limit of the output; None where there is none: Ollama takes what is not positive as that."""
    value = options.get(LIMIT)
    if value is None:
        return None
    if body.count(LIMIT.encode()) > 1 or splice.spells_letters(body):
        span = splice.Object(body).locate(b"options")
        if span:
            refuse_repeated(splice.members(body, span[0]), (LIMIT,), "options.")
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise wrong(f"options.{LIMIT}", "a whole number of tokens", value)
    return value if value > 0 else None


def _pictures(document: Json) -> int:
    holders = [document, *objects(document.get("messages"))]
    found = [holder.get("images") for holder in holders]
    return sum(len(images) for images in found if isinstance(images, list))
