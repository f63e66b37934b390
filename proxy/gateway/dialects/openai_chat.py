"""OpenAI's chat completions, and what twenty providers made of it."""

from typing import Final

import orjson

from proxy.core.errors import Refusal
from proxy.gateway.dialects import chat_request, splice
from proxy.gateway.dialects.base import Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.chat_answer import AnswerScanner
from proxy.gateway.dialects.chat_stream import StreamScanner
from proxy.gateway.dialects.chat_text import prompt_text
from proxy.gateway.dialects.errors import openai_error

_LIMITS: Final = (b"max_completion_tokens", b"max_tokens")


class OpenAIChat:
    """``/chat/completions``. Has no state: one serves all calls."""

    name = "openai_chat"

    def inspect(self, body: bytes) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        return chat_request.inspect(body)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        edits: list[splice.Edit] = []
        added: list[bytes] = []
        if patch.model is not None:
            _set_model(body, patch.model, edits)
        if patch.output_cap is not None:
            _set_cap(body, patch, patch.output_cap, edits, added)
        if patch.include_usage:
            _ask_for_usage(body, edits, added)
        if added:
            edits.append(splice.insertion(body, b",".join(added)))
        return splice.apply(body, edits)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        return StreamScanner(facts, watch) if watch.streamed else AnswerScanner(facts, watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes; ``chat_text.prompt_overhead`` is the rest."""
        return prompt_text(facts.document)

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


def _set_model(body: bytes, model: str, edits: list[splice.Edit]) -> None:
    span = splice.locate(body, b"model")
    if span is not None and orjson.loads(body[slice(*span)]) != model:
        edits.append(splice.Edit(*span, orjson.dumps(model)))


def _set_cap(
    body: bytes, patch: Patch, cap: int, edits: list[splice.Edit], added: list[bytes]
) -> None:
    """Lower each limit that is there and exceeds the cap; where there is none, add one."""
    limited = False
    empty: dict[bytes, splice.Span] = {}
    for name in _LIMITS:
        span = splice.locate(body, name)
        if span is None:
            continue
        limit = orjson.loads(body[slice(*span)])
        if limit is None:
            empty[name] = span
            continue
        limited = True
        if limit > cap:
            edits.append(splice.Edit(*span, b"%d" % cap))
    if limited:
        return
    name = (patch.cap_parameter or _cap_parameter(body, patch)).encode()
    if name in empty:
        edits.append(splice.Edit(*empty[name], b"%d" % cap))
    else:
        added.append(b'"%b":%d' % (name, cap))


def _cap_parameter(body: bytes, patch: Patch) -> str:
    if patch.model is not None:
        return chat_request.cap_parameter(patch.model)
    span = splice.locate(body, b"model")
    return chat_request.cap_parameter(orjson.loads(body[slice(*span)]) if span else "")


def _ask_for_usage(body: bytes, edits: list[splice.Edit], added: list[bytes]) -> None:
    options = splice.locate(body, b"stream_options")
    if options is None:
        added.append(b'"stream_options":{"include_usage":true}')
        return
    if body[options.start : options.start + 1] != b"{":  # null
        edits.append(splice.Edit(*options, b'{"include_usage":true}'))
        return
    for member in splice.members(body, options.start):
        if member.name == "include_usage":
            if body[slice(*member.value)] != b"true":
                edits.append(splice.Edit(*member.value, b"true"))
            return
    edits.append(splice.insertion(body, b'"include_usage":true', options))
