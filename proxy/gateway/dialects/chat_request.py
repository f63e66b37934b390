"""A chat request's body: what is read from it, and what is refused before anything goes upstream.

What it decides by, and why it could not be bounded; see ``body_check`` for what is refused.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.body_check import (
    Types,
    decisive,
    is_shallow,
    model_name,
    refuse_depth,
    refuse_doubtful_names,
    refuse_repeated,
    refuse_wrong_types,
    shown,
    wrong,
)
from proxy.gateway.dialects.chat_body import Json, read_body

MOST_CHOICES = 128  # n, as OpenAI has it

_DECISIVE: Final = decisive(
    "audio",
    "functions",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "model",
    "models",
    "n",
    "plugins",
    "search_parameters",
    "service_tier",
    "stream",
    "stream_options",
    "tools",
    "web_search_options",
)

_TYPES: Final[Types] = {
    "metadata": (dict, "an object"),
    "safety_identifier": (str, "a string"),
    "service_tier": (str, "a string"),
    "stream": (bool, "true or false"),
    "stream_options": (dict, "an object"),
    "tools": (list, "an array of tools"),
    "user": (str, "a string"),
}

# Members that make the provider add input, or choose a model, that the body does not show.
_ADDS_INPUT: Final = frozenset(
    {
        "web_search_options",
        "search_parameters",  # xAI
        "plugins",  # OpenRouter
        "models",  # OpenRouter: falls back to any of them
        "data_sources",  # Azure
        "enable_search",  # DashScope
        "cached_content",  # Gemini
        "previous_response_id",
        "conversation",
    }
)
_TEXT_PARTS: Final = frozenset({"text", "refusal", "thinking", "reasoning", "redacted_thinking"})
_CLIENT_TOOLS: Final = frozenset({"function", "custom"})  # run by the client, so paid by its text
_SEARCHING_MODEL = re.compile(r":online$|-search-preview|-search-api|^(?:groq/)?compound\b")
_COMPLETION_TOKENS_MODEL = re.compile(r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d)|codex)")


def cap_parameter(model: str) -> str:
    """The parameter that limits this model's output: the newer OpenAI models refuse ``max_tokens``."""
    if _COMPLETION_TOKENS_MODEL.search(model):
        return "max_completion_tokens"
    return "max_tokens"


def inspect(body: bytes, addressed: str = "") -> RequestFacts:
    """Read a chat request. Raises InvalidRequest, naming the parameter.

    ``addressed`` is the model that the path names: it counts, whatever the body says.
    """
    document, around = read_body(body)
    refuse_doubtful_names(body, around, document, _DECISIVE)
    model = model_name(addressed or document.get("model"))
    messages = document.get("messages")
    if type(messages) is not list:
        raise wrong("messages", "an array of messages", messages)
    if not _TYPES.keys().isdisjoint(document):
        refuse_wrong_types(document, _TYPES)
    plain = _are_plain(messages)
    nested = [v for v in document.values() if type(v) is list or type(v) is dict]
    if not (plain and len(nested) == 1) and not is_shallow(around if plain else body):
        refuse_depth(document)
    limit, limit_name = _output_limit(document)
    user, metadata = _attribution(document)
    searches, parameter = _known_by_name(model)
    return RequestFacts(
        model=model,
        stream=document.get("stream") or False,
        output_limit=limit,
        output_limit_name=limit_name or parameter,
        choices=_choices(document),
        wants_usage=_wants_usage(body, around, document),
        service_tier=document.get("service_tier") or "",
        user=user,
        metadata=metadata,
        has_tools=bool(document.get("tools") or document.get("functions")),
        unbounded=_unbounded(document, () if plain else messages, searches),
        document=document,
        openai_chat=True,
    )


@lru_cache(maxsize=1024)
def _known_by_name(model: str) -> tuple[str, str]:
    """Why a model searches by itself, "" where it does not; and how its output is limited."""
    searches = f"model {model}" if _SEARCHING_MODEL.search(model) else ""
    return searches, cap_parameter(model)


def _are_plain(messages: list[Any]) -> bool:
    """Whether messages have nothing but texts: no parts, so neither media nor depth."""
    for message in messages:
        if type(message) is not dict or "audio" in message:
            return False
        for value in message.values():
            if type(value) is not str and value is not None:
                return False
    return True


def _output_limit(document: Json) -> tuple[int | None, str]:
    """The larger of the two parameters where both are given: providers differ in which one counts."""
    limit, limit_name = None, ""
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if value is None:
            continue
        if type(value) is not int or value < 1:
            raise wrong(name, "a whole number of tokens, at least 1", value)
        if limit is None or value > limit:
            limit, limit_name = value, name
    return limit, limit_name


def _choices(document: Json) -> int:
    value = document.get("n")
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= MOST_CHOICES:
        raise wrong("n", f"a whole number from 1 to {MOST_CHOICES}", value)
    return value


def _wants_usage(body: bytes, around: bytes, document: Json) -> bool:
    if document.get("data_sources"):
        return True  # Azure's takes no such option there: nothing is to be added or hidden
    options = document.get("stream_options")
    if not options:
        return False
    if around.find(b'"include_usage"') != around.rfind(b'"include_usage"') or b"\\u00" in around:
        span = splice.Object(body).locate(b"stream_options")
        if span:
            found = splice.members(body, span[0])
            refuse_repeated(found, ("include_usage",), "stream_options.")
    value = options.get("include_usage")
    if value is not None and type(value) is not bool:
        raise wrong("stream_options.include_usage", "true or false", value)
    return bool(value)


def _attribution(document: Json) -> tuple[str, dict[str, str]]:
    """Who asked, by the body's own fields. They are shown, never trusted, and never rewritten."""
    user = document.get("user") or document.get("safety_identifier")
    metadata = document.get("metadata")
    if not metadata:
        return shown(user or ""), {}
    texts = {shown(name): shown(text) for name, text in metadata.items() if type(text) is str}
    return shown(user or ""), texts


def _unbounded(document: Json, messages: Iterable[Any], searches: str) -> tuple[str, ...]:
    reasons: list[str] = []
    if not _ADDS_INPUT.isdisjoint(document):
        reasons += [name for name in _ADDS_INPUT if document.get(name) not in (None, False, [])]
    if searches:
        reasons.append(searches)
    if document.get("tools"):
        reasons += _server_tools(document["tools"])
    modalities = document.get("modalities")
    if isinstance(modalities, list):
        reasons += [f"{m} output" for m in modalities if isinstance(m, str) and m != "text"]
    if document.get("audio") and "audio output" not in reasons:
        reasons.append("audio output")
    for message in messages:
        if type(message) is dict:
            if type(message.get("content")) is list:
                reasons += _media(message["content"])
            if message.get("audio"):
                reasons.append("audio")
    return tuple(dict.fromkeys(reasons)) if reasons else ()


def _server_tools(tools: list[Any]) -> list[str]:
    kinds = [tool.get("type", "function") for tool in tools if type(tool) is dict]
    return [f"server tool {str(kind)[:64]}" for kind in kinds if kind not in _CLIENT_TOOLS]


def _media(parts: list[Any]) -> list[str]:
    kinds = [part.get("type", "text") for part in parts if type(part) is dict]
    return [str(kind)[:64] for kind in kinds if type(kind) is not str or kind not in _TEXT_PARTS]
