"""Gemini's own API, at AI Studio and at Vertex: generateContent, embedContent, countTokens."""

import re
from typing import Final

from msgspec.structs import replace

from proxy.core.errors import Refusal
from proxy.gateway.dialects import gemini_request, json_object
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    comes_in_events,
)
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import google_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream, Frame
from proxy.gateway.dialects.gemini_answer import GeminiAnswer
from proxy.gateway.dialects.json_array import Elements
from proxy.gateway.dialects.openai_chat import OpenAIChat
from proxy.gateway.dialects.route import Route
from proxy.gateway.dialects.unmetered import Unmetered

_LOCATION = re.compile(rb"/locations/([^/]+)/")
_REGIONAL: Final = ("regional",)


class Gemini:
    """``models/{model}:generateContent`` and its stream. Has no state: one serves all calls."""

    name = "gemini"

    def __init__(self, family: str) -> None:
        self.family = family

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        stream = address.path.endswith(b":streamGenerateContent")
        return gemini_request.inspect(body, address, variants_of(address), stream=stream)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Write the cap; the model is in the path."""
        if patch.output_cap is None:
            return body
        return json_object.set_number(body, gemini_request.CAP_PATH, patch.output_cap)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Whether it was asked for: a stream is an array of JSON where no events were asked for."""
        return facts.stream or comes_in_events(content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader = GeminiAnswer(facts.variants)
        if not watch.streamed:
            return DocumentScanner(reader, watch)
        if comes_in_events(watch.content_type):
            return EventScanner(reader, EventStream(), watch)
        return _ArrayScanner(reader, watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes."""
        return "\n".join(gemini_request.prompt_pieces(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Google's shape."""
        return google_error(refusal)


class GeminiEmbedding(Gemini):
    """``models/{model}:embedContent`` and ``batchEmbedContents``."""

    name = "gemini_embedding"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return gemini_request.inspect_embedding(body, address, variants_of(address))

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The same body: there is no output to be capped."""
        del patch
        return body


class VertexChat(OpenAIChat):
    """Chat completions at Vertex: its OpenAI endpoint, and ``rawPredict`` of makers that speak it."""

    family = "vertex"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return replace(super().inspect(body, address), variants=variants_of(address))

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        scanner = super().scanner(facts, watch)
        scanner.scan.variants = facts.variants
        return scanner


class _ArrayScanner(EventScanner):
    """Scans a stream that is a JSON array: where it is cut, the array is closed."""

    __slots__ = ("_answer",)

    def __init__(self, reader: GeminiAnswer, watch: Watch) -> None:
        super().__init__(reader, Elements(), watch)
        self._answer = reader

    def _end_at(self, frame: Frame, data: bytes, before: int) -> bytes:
        self._answer.passed = frame.start < before
        return super()._end_at(frame, data, before)


def variants_of(address: Address) -> tuple[str, ...]:
    """What of the price the address decides: Vertex's regions cost more than ``global``."""
    found = _LOCATION.search(address.path)
    return _REGIONAL if found and found[1] != b"global" else ()


_STUDIO, _VERTEX = Gemini("gemini"), Gemini("vertex")
_EMBED_STUDIO, _EMBED_VERTEX = GeminiEmbedding("gemini"), GeminiEmbedding("vertex")
_FREE_STUDIO, _FREE_VERTEX = Unmetered("gemini", google_error), Unmetered("vertex", google_error)
_CHAT: Final = VertexChat()

_STUDIO_PATHS: Final = tuple(
    f"/{version}/{kind}/{{model}}"
    for version in ("v1beta", "v1", "v1alpha")
    for kind in ("models", "tunedModels")
)
_PROJECT: Final = "projects/{project}/locations/{location}"
_VERTEX_PATHS: Final = tuple(
    f"/{version}/{path}"
    for version in ("v1", "v1beta1")
    for path in (
        f"{_PROJECT}/publishers/{{publisher}}/models/{{model}}",
        f"{_PROJECT}/endpoints/{{model}}",
        "publishers/{publisher}/models/{model}",
    )
)


def _generating(path: str, dialect: Gemini) -> tuple[Route, ...]:
    return (
        Route("POST", f"{path}:generateContent", dialect, "generate_content", holds=""),
        Route("POST", f"{path}:streamGenerateContent", dialect, "generate_content", holds=""),
    )


def _counting(path: str, dialect: Unmetered) -> Route:
    return Route("POST", f"{path}:countTokens", dialect, "count_tokens", metered=False, holds="")


def _embedding(path: str, dialect: GeminiEmbedding) -> tuple[Route, ...]:
    return (
        Route("POST", f"{path}:embedContent", dialect, "embed_content", holds=""),
        Route("POST", f"{path}:batchEmbedContents", dialect, "embed_content", holds=""),
    )


ROUTES: Final = (
    *(route for path in _STUDIO_PATHS for route in _generating(path, _STUDIO)),
    *(route for path in _STUDIO_PATHS for route in _embedding(path, _EMBED_STUDIO)),
    *(_counting(path, _FREE_STUDIO) for path in _STUDIO_PATHS),
    *(route for path in _VERTEX_PATHS for route in _generating(path, _VERTEX)),
    *(route for path in _VERTEX_PATHS for route in _embedding(path, _EMBED_VERTEX)),
    *(_counting(path, _FREE_VERTEX) for path in _VERTEX_PATHS),
    *(
        Route(
            "POST",
            f"/{version}/{_PROJECT}/endpoints/openapi/chat/completions",
            _CHAT,
            "chat.completions",
            holds="",
        )
        for version in ("v1", "v1beta1")
    ),
)
