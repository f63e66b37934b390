"""Cohere's own API: chat (v2 and v1), generate, embed and rerank."""

from typing import Final

import orjson

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import cohere_request, splice
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    answers_in_events,
    comes_in_events,
)
from proxy.gateway.dialects.cohere_answer import CohereReader
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import cohere_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream, Lines
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.route import Route

_SSE: Final = "text/event-stream"


class Cohere:
    """One endpoint of Cohere's. Has no state: one serves all calls."""

    family = "cohere"

    def __init__(
        self,
        name: str,
        usage_name: str = "meta",
        *,
        makes_text: bool = True,
        searches: bool = False,
    ) -> None:
        self.name = name
        self._usage_name = usage_name
        self._makes_text = makes_text
        self._searches = searches  # it is paid by the search

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        del address
        return cohere_request.inspect(body, makes_text=self._makes_text, searches=self._searches)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        edits: list[splice.Edit] = []
        found = splice.Object(body)
        if patch.model is not None:
            set_model(body, found, patch.model, edits)
        if patch.output_cap is not None and self._makes_text:
            span = found.locate(b"max_tokens")
            if span is None:
                edits.append(splice.insertion(body, b'"max_tokens":%d' % patch.output_cap))
            else:
                limit = orjson.loads(body[slice(*span)])
                if limit is None or limit > patch.output_cap:
                    edits.append((*span, b"%d" % patch.output_cap))
        return splice.apply(body, edits)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader = CohereReader(self._usage_name)
        if watch.streamed:
            framing = EventStream() if self._has_events(watch.content_type) else Lines()
            return EventScanner(reader, framing, watch, calibration(facts.model))
        return DocumentScanner(reader, watch, calibration(facts.model))

    def _has_events(self, content_type: str) -> bool:
        """Whether a stream is of server-sent events; v1 has lines where its type does not tell."""
        if comes_in_events(content_type):
            return content_type == _SSE
        return self._usage_name == "usage"

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that Cohere tokenizes, without what its template adds."""
        return "\n".join(cohere_request.prompt_pieces(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Cohere's shape."""
        return cohere_error(refusal)


_CHAT_V1: Final = Cohere("cohere_chat_v1")
_EMBED: Final = Cohere("cohere_embed", makes_text=False)
_RERANK: Final = Cohere("cohere_rerank", makes_text=False, searches=True)
ROUTES: Final = (
    Route("POST", "/v2/chat", Cohere("cohere_chat", "usage"), "chat", holds=""),
    Route("POST", "/v2/embed", _EMBED, "embed", holds=""),
    Route("POST", "/v2/rerank", _RERANK, "rerank", holds=""),
    Route("POST", "/v1/chat", _CHAT_V1, "chat", holds=""),
    Route("POST", "/v1/generate", _CHAT_V1, "generate", holds=""),
    Route("POST", "/v1/embed", _EMBED, "embed", holds=""),
    Route("POST", "/v1/rerank", _RERANK, "rerank", holds=""),
)
