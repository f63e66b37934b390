"""OpenAI's responses API, and what other providers made of it."""

from typing import Final

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import responses_request
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.free import Free
from proxy.gateway.dialects.json_patch import JsonPatch
from proxy.gateway.dialects.responses_answer import ResponsesAnswer, ResponsesEvents
from proxy.gateway.dialects.route import Route, openai_routes


class Responses:
    """``/responses``, and ``/responses/compact``, whose output can't be limited."""

    family = "openai"

    def __init__(self, name: str = "openai_responses", *, limited: bool = True) -> None:
        self.name = name
        self._limited = limited

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return responses_request.inspect(body, address.model, bounded=self._limited)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        if patch.model is None and patch.output_cap is None:
            return body
        edits = JsonPatch(body)
        edits.set_model(patch.model)
        if self._limited:
            edits.lower(responses_request.LIMIT, patch.output_cap)
        return edits.applied()

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        calibrated = calibration(facts.model)
        if watch.streamed:
            return EventScanner(ResponsesEvents(), EventStream(), watch, calibrated)
        return DocumentScanner(ResponsesAnswer(), watch, calibrated)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes."""
        return "\n".join(responses_request.prompt_pieces(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


_RESPONSES: Final = Responses()
_COMPACT: Final = Responses("openai_responses_compact", limited=False)

ROUTES: Final = (
    *openai_routes("/responses", _RESPONSES, "responses"),
    Route("POST", "/openai/responses", _RESPONSES, "responses", holds=""),  # Azure, once more
    *openai_routes("/responses/compact", _COMPACT, "responses.compact"),
    # Counting costs nothing.
    *openai_routes("/responses/input_tokens", Free(), "responses.input_tokens", metered=False),
)
