"""OpenAI's completions, the format before chats: prompts in, texts out."""

from typing import Any, Final

from msgspec.structs import replace

from proxy.core.errors import Refusal
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.body_check import FLAG, decisive, read_object, wrong
from proxy.gateway.dialects.chat_answer import ChatAnswer
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.chat_stream import StreamScanner
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.embeddings import numbers, texts
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.json_patch import JsonPatch
from proxy.gateway.dialects.route import Route, openai_routes

_LIMIT: Final = "max_tokens"
_MOST_CHOICES: Final = 128
_MOST_PROMPTS: Final = 2048
_DECISIVE: Final = decisive(
    _LIMIT,
    "best_of",
    "echo",
    "model",
    "n",
    "prompt",
    "service_tier",
    "stream",
    "stream_options",
    "suffix",
)
_TYPES: Final = {**request_body.TYPES, "echo": FLAG}


class Completions:
    """``/completions``. Has no state: one serves all calls."""

    name = "openai_completions"
    family = "openai"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = read_object(body, _DECISIVE, _TYPES)
        user, metadata = request_body.attribution(document)
        prompt = document.get("prompt")
        return RequestFacts(
            model=request_body.model_of(document, address.model),
            stream=document.get("stream") or False,
            output_limit=_limit(document),
            output_limit_name=_LIMIT,
            choices=_answers(document),
            wants_usage=_wants_usage(document),
            service_tier=document.get("service_tier") or "",
            user=user,
            metadata=metadata,
            unbounded=("prompt_embeds",) if document.get("prompt_embeds") else (),  # vLLM
            prompt_tokens=numbers(prompt),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into a body that was inspected; the same object where there are none."""
        if patch.model is None and patch.output_cap is None and not patch.include_usage:
            return body
        edits = JsonPatch(body)
        edits.set_model(patch.model)
        edits.lower(_LIMIT, patch.output_cap)
        if patch.include_usage:
            edits.ask_for_usage()
        return edits.applied()

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        if facts.document.get("echo") is True:
            return _Echoing(facts, watch)
        return _scanner(facts, watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The prompts, and what is to follow."""
        document = facts.document
        return "\n".join([*texts(document.get("prompt")), *texts(document.get("suffix"))])

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


def _scanner(facts: RequestFacts, watch: Watch) -> Scanner:
    if watch.streamed:
        return StreamScanner(facts, watch)
    return DocumentScanner(ChatAnswer(), watch)


class _Echoing:
    """A scanner of answers that repeat the prompt: that was not generated, so it is not counted.

    Nor is it watched for a cap: where the prompt ends in the answer can't be told.
    """

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._facts = facts
        self._watch = watch
        self._inner = _scanner(facts, replace(watch, output_cap=None, paid_output=None))
        self.cut = False

    @property
    def scan(self) -> Scan:
        """What was learned so far."""
        return self._inner.scan

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on."""
        return self._inner.feed(data)

    def finish(self) -> bytes:
        """What was held back."""
        return self._inner.finish()

    def count_output(self) -> int:
        """The tokens of the answer, less those of the prompts."""
        document = self._facts.document
        repeated = sum(self._watch.count(text) for text in texts(document.get("prompt")))
        repeated += self._facts.prompt_tokens
        choices = request_body.whole_number(document, "n", 1, _MOST_CHOICES) or 1
        return max(0, self._inner.count_output() - repeated * choices)


def _limit(document: Json) -> int | None:
    """The limit. 0: only the prompt is scored; -1: none, as llama.cpp and LM Studio have it."""
    value = document.get(_LIMIT)
    if type(value) is int and value in (0, -1):
        return 1 if value == 0 else None
    return request_body.output_limit(document, _LIMIT)


def _answers(document: Json) -> int:
    """How many are generated, and billed: so many of the best of each prompt are shown."""
    shown = request_body.whole_number(document, "n", 1, _MOST_CHOICES) or 1
    best_of = request_body.whole_number(document, "best_of", 0, _MOST_CHOICES) or 1
    return max(shown, best_of) * _prompts(document.get("prompt"))


def _prompts(prompt: Any) -> int:
    if isinstance(prompt, list) and prompt and type(prompt[0]) is not int:
        if len(prompt) > _MOST_PROMPTS:
            raise wrong("prompt", f"at most {_MOST_PROMPTS} prompts", len(prompt))
        return len(prompt)
    return 1


def _wants_usage(document: Json) -> bool:
    options = document.get("stream_options")
    value = options.get("include_usage") if isinstance(options, dict) else None
    if value is not None and type(value) is not bool:
        raise wrong("stream_options.include_usage", "true or false", value)
    return bool(value)


_COMPLETIONS: Final = Completions()
ROUTES: Final = (
    *openai_routes("/completions", _COMPLETIONS, "completions"),
    Route("POST", "/v1/engines/{model}/completions", _COMPLETIONS, "completions"),
    # Mistral fills in the middle: the same request, and a chat's answer.
    *openai_routes("/fim/completions", _COMPLETIONS, "fim"),
)
