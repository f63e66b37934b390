"""Anthropic's messages, which vLLM, Ollama and others speak too."""

from typing import Final

import orjson

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import anthropic_request, splice
from proxy.gateway.dialects.anthropic_answer import MessageReader
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import anthropic_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.free import Free
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.route import Route

_LEAST_THINKING: Final = 1_024  # tokens; Anthropic takes no smaller budget
_OPENING_BRACE: Final = ord("{")


class AnthropicMessages:
    """``/v1/messages``. Has no state: one serves all calls."""

    name = "anthropic_messages"
    family = "anthropic"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return anthropic_request.inspect(body, address.model)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        edits: list[splice.Edit] = []
        found = splice.Object(body)
        if patch.model is not None:
            set_model(body, found, patch.model, edits)
        if patch.output_cap is not None:
            _set_cap(body, found, patch.output_cap, edits)
        return splice.apply(body, edits)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader, calibrated = MessageReader(facts.document), calibration(facts.model)
        if watch.streamed:
            return EventScanner(reader, EventStream(), watch, calibrated)
        return DocumentScanner(reader, watch, calibrated)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes, without what its template adds."""
        return "\n".join(anthropic_request.prompt_pieces(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Anthropic's shape."""
        return anthropic_error(refusal)


def _set_cap(body: bytes, found: splice.Object, cap: int, edits: list[splice.Edit]) -> None:
    """Lower the limit, and the thinking that must fit below it; where there is no limit, add it."""
    span = found.locate(b"max_tokens")
    if span is None:
        edits.append(splice.insertion(body, b'"max_tokens":%d' % cap))
        return
    limit = orjson.loads(body[slice(*span)])
    if limit is not None and limit <= cap:
        return
    edits.append((*span, b"%d" % cap))
    thinking = found.locate(b"thinking")
    if limit is None or thinking is None or body[thinking[0]] != _OPENING_BRACE:
        return
    for member in splice.members(body, thinking[0]):
        if member.name == "budget_tokens":
            budget = orjson.loads(body[slice(*member.value)])
            # More than the limit is allowed where it thinks between calls of tools: left as it is.
            if type(budget) is int and cap <= budget < limit and cap > _LEAST_THINKING:
                lower = max(_LEAST_THINKING, cap // 2)
                edits.append((*member.value, b"%d" % lower))


_MESSAGES: Final = AnthropicMessages()
ROUTES: Final = (
    Route("POST", "/v1/messages", _MESSAGES, "messages"),
    Route(
        "POST",
        "/v1/messages/count_tokens",
        Free("anthropic", anthropic_error),
        "messages.count_tokens",
        metered=False,
    ),
)
