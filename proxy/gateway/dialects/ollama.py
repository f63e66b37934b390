"""Ollama's own API: chat, generate and embed."""

from typing import Final

import orjson

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import ollama_request, splice
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import ollama_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import Lines
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.ollama_answer import OllamaReader
from proxy.gateway.dialects.ollama_request import LIMIT
from proxy.gateway.dialects.route import Route

_OPENING_BRACE: Final = ord("{")


class Ollama:
    """One endpoint of Ollama's. Has no state: one serves all calls."""

    family = "ollama"

    def __init__(self, name: str, *, makes_text: bool = True) -> None:
        self.name = name
        self._makes_text = makes_text

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        del address
        return ollama_request.inspect(body, makes_text=self._makes_text)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        edits: list[splice.Edit] = []
        found = splice.Object(body)
        if patch.model is not None:
            set_model(body, found, patch.model, edits)
        if patch.output_cap is not None and self._makes_text:
            edits += _cap(body, found, patch.output_cap)
        return splice.apply(body, edits)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader = OllamaReader(makes_text=self._makes_text)
        if watch.streamed:
            return EventScanner(reader, Lines(), watch, calibration(facts.model))
        return DocumentScanner(reader, watch, calibration(facts.model))

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the model reads, without what its template adds."""
        return "\n".join(ollama_request.prompt_pieces(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Ollama's shape."""
        return ollama_error(refusal)


def _cap(body: bytes, found: splice.Object, cap: int) -> list[splice.Edit]:
    """Lower the limit where it is over the cap or is none; where there is none, add one."""
    limit = b'"%b":%d' % (LIMIT.encode(), cap)
    options = found.locate(b"options")
    if options is None:
        return [splice.insertion(body, b'"options":{%b}' % limit)]
    if body[options[0]] != _OPENING_BRACE:  # null
        return [(*options, b"{%b}" % limit)]
    for member in splice.members(body, options[0]):
        if member.name == LIMIT:
            value = orjson.loads(body[slice(*member.value)])
            if value is None or value <= 0 or value > cap:
                return [(*member.value, b"%d" % cap)]
            return []
    return [splice.insertion(body, limit, options)]


_EMBED: Final = Ollama("ollama_embed", makes_text=False)
ROUTES: Final = (
    Route("POST", "/api/chat", Ollama("ollama_chat"), "chat", holds=""),
    Route("POST", "/api/generate", Ollama("ollama_generate"), "generate", holds=""),
    Route("POST", "/api/embed", _EMBED, "embed", holds=""),
    Route("POST", "/api/embeddings", _EMBED, "embed", holds=""),
)
