"""OpenAI's embeddings: input tokens, and no output."""

from typing import Any, Final

import orjson
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.core.errors import Refusal
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    comes_in_events,
)
from proxy.gateway.dialects.body_check import decisive, read_object
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.json_patch import with_model
from proxy.gateway.dialects.notes import note_error, note_names, note_usage
from proxy.gateway.dialects.route import Route, openai_routes

_DECISIVE: Final = decisive("input", "model")
_TEXT_PARTS: Final = frozenset(("text", "input_text"))


class Embeddings:
    """``/embeddings``. Has no state: one serves all calls."""

    name = "openai_embeddings"
    family = "openai"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name.

        Every token id takes two bytes and more of the body, so that its bytes bound them too.
        """
        document = read_object(body, _DECISIVE, request_body.TYPES)
        user, metadata = request_body.attribution(document)
        given = document.get("input")
        return RequestFacts(
            model=request_body.model_of(document, address.model),
            user=user,
            metadata=metadata,
            unbounded=request_body.once(media(given)),
            makes_text=False,
            prompt_tokens=numbers(given),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Name the upstream's model."""
        return with_model(body, patch.model)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Never, in practice."""
        del facts
        return comes_in_events(content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        del facts
        return DocumentScanner(EmbeddingsAnswer(), watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The texts to embed."""
        return "\n".join(texts(facts.document.get("input")))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


class EmbeddingsAnswer:
    """Reads an answer, of which nearly all are numbers that nobody here wants."""

    __slots__ = ("scan",)

    usage_name = "usage"

    def __init__(self) -> None:
        self.scan = Scan()

    def quickly(self, body: bytes) -> bool:
        """Step over the vectors; nothing is made of them."""
        try:
            answer = _decode(body)
            usage = orjson.loads(bytes(answer.usage)) if answer.usage else None
        except (DecodeError, UnicodeDecodeError, orjson.JSONDecodeError, RecursionError):
            return False
        if type(usage) is not dict or answer.error is not None or answer.object == "error":
            return False
        self.scan.finished = True
        note_names(self.scan, {"model": answer.model, "id": answer.id})
        note_usage(self.scan, {"usage": usage})
        return True

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        note_usage(self.scan, document)
        note_error(self.scan, document)

    def spoken(self, document: Json) -> Texts:
        """Nothing."""
        del document
        return iter(())


class _Answer(Struct):
    """The members that matter; the others are stepped over."""

    id: str | None = None
    model: str | None = None
    object: str | None = None
    error: Any = None
    usage: Raw = Raw()


_decode = Decoder(_Answer).decode


def texts(given: Any) -> list[str]:
    """The texts of an input: one, or many, or parts with text in them."""
    if isinstance(given, str):
        return [given]
    found: list[str] = []
    for item in given if isinstance(given, list) else ():
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            found += texts(item.get("text"))
            found += texts(item.get("content"))
    return found


def numbers(given: Any) -> int:
    """The token ids of an input: one list of them, or many."""
    if not isinstance(given, list):
        return 0
    return sum(
        1 if type(item) is int else len(item) if isinstance(item, list) else 0 for item in given
    )


def media(given: Any) -> list[str]:
    """What is neither text nor token ids: its size in tokens is not that of its bytes."""
    found: list[str] = []
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict):
            kind = item.get("type", "text")
            if isinstance(item.get("content"), list):
                found += media(item["content"])
            elif type(kind) is not str or kind not in _TEXT_PARTS:
                found.append(str(kind))
    return found


_EMBEDDINGS: Final = Embeddings()
ROUTES: Final = (
    *openai_routes("/embeddings", _EMBEDDINGS, "embeddings"),
    Route("POST", "/v1/engines/{model}/embeddings", _EMBEDDINGS, "embeddings"),
)
