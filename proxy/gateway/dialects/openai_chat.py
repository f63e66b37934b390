"""OpenAI's chat completions, and what twenty providers made of it."""

from typing import Final

import orjson

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import chat_request, splice
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.chat_answer import ChatAnswer
from proxy.gateway.dialects.chat_stream import StreamScanner
from proxy.gateway.dialects.chat_text import prompt_text
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.route import Route

_OPENING_BRACE: Final = ord("{")
_LIMITS: Final = (b"max_completion_tokens", b"max_tokens")


class OpenAIChat:
    """``/chat/completions``. Has no state: one serves all calls."""

    name = "openai_chat"
    family = "openai"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return chat_request.inspect(body, address.model)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        if patch.model is None and patch.output_cap is None and not patch.include_usage:
            return body
        found = splice.Object(body)
        edits: list[splice.Edit] = []
        added: list[bytes] = []
        if patch.model is not None:
            set_model(body, found, patch.model, edits)
        if patch.output_cap is not None:
            _set_cap(body, found, patch, edits, added)
        if patch.include_usage:
            _ask_for_usage(body, found, edits, added)
        if added:
            edits.append(splice.insertion(body, b",".join(added)))
        return splice.apply(body, edits)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        if watch.streamed:
            return StreamScanner(facts, watch)
        return DocumentScanner(ChatAnswer(), watch, calibration(facts.model))

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes, without what its template adds."""
        return prompt_text(facts.document)

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


def _set_cap(
    body: bytes,
    found: splice.Object,
    patch: Patch,
    edits: list[splice.Edit],
    added: list[bytes],
) -> None:
    """Lower each limit that is there and exceeds the cap; where there is none, add one."""
    cap = patch.output_cap or 0
    limited = False
    empty: dict[bytes, splice.Span] = {}
    for name in _LIMITS:
        span = found.locate(name)
        if span is None:
            continue
        limit = orjson.loads(body[slice(*span)])
        if limit is None:
            empty[name] = span
            continue
        limited = True
        if limit > cap:
            edits.append((*span, b"%d" % cap))
    if limited:
        return
    name = (patch.cap_parameter or _cap_parameter(body, found, patch)).encode()
    if name in empty:
        edits.append((*empty[name], b"%d" % cap))
    else:
        added.append(b'"%b":%d' % (name, cap))


def _cap_parameter(body: bytes, found: splice.Object, patch: Patch) -> str:
    if patch.model is not None:
        return chat_request.cap_parameter(patch.model)
    span = found.locate(b"model")
    return chat_request.cap_parameter(orjson.loads(body[slice(*span)]) if span else "")


def _ask_for_usage(
    body: bytes, found: splice.Object, edits: list[splice.Edit], added: list[bytes]
) -> None:
    options = found.locate(b"stream_options")
    if options is None:
        added.append(b'"stream_options":{"include_usage":true}')
        return
    if body[options[0]] != _OPENING_BRACE:  # null
        edits.append((*options, b'{"include_usage":true}'))
        return
    for member in splice.members(body, options[0]):
        if member.name == "include_usage":
            if body[slice(*member.value)] != b"true":
                edits.append((*member.value, b"true"))
            return
    edits.append(splice.insertion(body, b'"include_usage":true', options))


_CHAT: Final = OpenAIChat()
ROUTES: Final = (
    Route("POST", "/v1/chat/completions", _CHAT, "chat.completions"),
    # Azure's
    Route("POST", "/openai/v1/chat/completions", _CHAT, "chat.completions", holds=""),
    Route(
        "POST", "/openai/deployments/{model}/chat/completions", _CHAT, "chat.completions", holds=""
    ),
    Route("POST", "/models/chat/completions", _CHAT, "chat.completions", holds=""),
)
