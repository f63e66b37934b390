"""Requests of Cohere's API: chat (v2 and v1), generate, embed and rerank."""

from collections.abc import Iterator
from typing import Any, Final

from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.body_check import (
    FLAG,
    TEXT,
    Types,
    decisive,
    model_name,
    read_object,
    whole_number,
)
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.json_text import json_text

_DECISIVE: Final = decisive(
    "connectors",
    "conversation_id",
    "documents",
    "images",
    "inputs",
    "max_tokens",
    "message",
    "messages",
    "model",
    "num_generations",
    "preset",
    "prompt",
    "query",
    "stream",
    "texts",
    "tools",
)
_TYPES: Final[Types] = {"stream": FLAG, "preset": TEXT, "conversation_id": TEXT}
# Members that make Cohere search, or add what was said before: no body shows how much.
_ADDS: Final = ("connectors", "conversation_id", "preset")
_MOST_GENERATIONS: Final = 5
_PICTURE: Final = 16_384  # tokens of one, at most; recorded ones had 259
_DEEPEST: Final = 6

# A search unit is a query with up to 100 documents. Of longer ones each piece of 500 tokens, less
# those of the query, is a document. So a piece has at least 250 bytes, if a query is cut at half of it.
_DOCUMENTS_PER_UNIT: Final = 100
_LEAST_BYTES_OF_A_PIECE: Final = 250

# What holds text, whichever endpoint it is.
_SPOKEN: Final = (
    "message",
    "messages",
    "preamble",
    "chat_history",
    "prompt",
    "texts",
    "inputs",
    "query",
)
_WRITTEN: Final = ("tools", "documents", "tool_results", "response_format")
_TEXTS: Final = ("text", "content", "message", "thinking", "tool_plan")


def inspect(body: bytes, *, makes_text: bool, searches: bool = False) -> RequestFacts:
    """Read a request. Raises InvalidRequest, naming the parameter."""
    document = read_object(body, _DECISIVE, _TYPES)
    model = model_name(document.get("model"))
    media = _Media(document)
    choices = whole_number(document.get("num_generations"), "num_generations") or 1
    return RequestFacts(
        model=model,
        stream=makes_text and bool(document.get("stream")),
        output_limit=whole_number(document.get("max_tokens"), "max_tokens", 0)
        if makes_text
        else None,
        output_limit_name="max_tokens",
        choices=min(choices, _MOST_GENERATIONS),
        has_tools=bool(document.get("tools")),
        unbounded=tuple(dict.fromkeys((*_added(document), *media.reasons))),
        more_input=media.pictures * _PICTURE,
        makes_text=makes_text,
        beside=Usage(searches=_search_units(document)) if searches else EMPTY,
        document=document,
    )


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that Cohere tokenizes."""
    for name in _SPOKEN:
        yield from _texts(document.get(name), 0)
    for name in _WRITTEN:
        if document.get(name):
            yield json_text(document[name])


def _added(document: Json) -> Iterator[str]:
    for name in _ADDS:
        if document.get(name):
            yield name


class _Media:
    """The pictures of a request: in the body, or elsewhere."""

    def __init__(self, document: Json) -> None:
        self.pictures = 0
        self.reasons: list[str] = []
        images = document.get("images")
        for image in images if isinstance(images, list) else ():
            self._picture(image)
        for name in ("messages", "inputs"):
            self._look(document.get(name), 0)

    def _look(self, value: Any, depth: int) -> None:
        for part in value if isinstance(value, list) and depth < _DEEPEST else ():
            if not isinstance(part, dict):
                continue
            if part.get("type") == "image_url" or "image_url" in part:
                image = part.get("image_url")
                self._picture(image.get("url") if isinstance(image, dict) else image)
            self._look(part.get("content"), depth + 1)

    def _picture(self, url: object) -> None:
        if isinstance(url, str) and url.startswith("data:"):
            self.pictures += 1
        else:
            self.reasons.append("image by url")


def _search_units(document: Json) -> int:
    documents = document.get("documents")
    if not isinstance(documents, list):
        return 1
    pieces = sum(max(1, -(-_size(d) // _LEAST_BYTES_OF_A_PIECE)) for d in documents)
    return max(1, -(-pieces // _DOCUMENTS_PER_UNIT))


def _size(document: object) -> int:
    text = document if isinstance(document, str) else json_text(document)
    return len(text.encode("utf-8", "surrogatepass"))


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _texts(item, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        for name in _TEXTS:
            yield from _texts(value.get(name), depth + 1)
        if value.get("tool_calls"):
            yield json_text(value["tool_calls"])
