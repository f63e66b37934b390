"""A chat request's body: what is read from it, and what is refused before anything goes upstream.

Only what Farebox decides by is checked: the upstream judges the rest, in its own words. Null means
absent, as it does for every provider.
"""

import json
import re
from typing import Any, Final

import orjson

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import RequestFacts

Json = dict[str, Any]

DEEPEST = 64  # levels of nesting
MOST_CHOICES = 128  # n, as OpenAI has it
_LONGEST_NAME = 512  # characters of a model or user, which become columns of the ledger

# The members that decide the model, the cost or the shape of the answer. Readers disagree about a
# name that is given twice (first or last wins) or in other letters (Go reads "Model" as "model"), so
# that a body could mean one thing here and another upstream.
_DECISIVE: Final = {
    name: f'"{name}"'.encode()
    for name in (
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
}

_TYPES: Final[dict[str, tuple[type, str]]] = {
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


def inspect(body: bytes) -> RequestFacts:
    """Read a chat request. Raises InvalidRequest, naming the parameter."""
    document = _parse(body)
    _refuse_doubtful_names(body, document)
    model = document.get("model")
    if type(model) is not str or not model:
        raise _wrong("model", "a model's name, as a string", model)
    if len(model) > _LONGEST_NAME or not model.isprintable() or "\ufffd" in model:
        raise InvalidRequest("'model' is not a model's name.", param="model")
    if type(document.get("messages")) is not list:
        raise _wrong("messages", "an array of messages", document.get("messages"))
    _refuse_wrong_types(document)
    _refuse_depth(document)
    limit, limit_name = _output_limit(document)
    user, metadata = _attribution(document)
    return RequestFacts(
        model=model,
        stream=document.get("stream") or False,
        output_limit=limit,
        output_limit_name=limit_name or cap_parameter(model),
        choices=_choices(document),
        wants_usage=_wants_usage(body, document),
        service_tier=document.get("service_tier") or "",
        user=user,
        metadata=metadata,
        has_tools=bool(document.get("tools") or document.get("functions")),
        unbounded=_unbounded(model, document),
        document=document,
    )


def _parse(body: bytes) -> Json:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_lone_surrogates(body, error)
    if type(document) is not dict:
        raise InvalidRequest("The body must be a JSON object.")
    return document


def _parse_lone_surrogates(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Half an emoji is what JavaScript makes of a text cut in the wrong place; providers take it.

    It is read as U+FFFD here and goes upstream as it came. What else orjson refuses is refused.
    """
    if not body.strip():
        raise InvalidRequest("The body is empty; it must be a JSON object.") from None
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InvalidRequest(
            "The body is not valid JSON: it starts with a byte order mark; send plain UTF-8."
        ) from None
    refusal = InvalidRequest(
        f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
    )
    if re.search(rb"\\u[dD][89a-fA-F]", body) is None:
        raise refusal from None
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
        text = json.dumps(document, ensure_ascii=False)
        return orjson.loads(
            text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        )
    except (ValueError, RecursionError):
        raise refusal from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _refuse_doubtful_names(body: bytes, document: Json) -> None:
    doubtful = splice.spells_letters(body)
    for name in document:
        quoted = _DECISIVE.get(name)
        if quoted is None:
            if not name.islower() and (ours := name.casefold()) in _DECISIVE:
                raise InvalidRequest(f"'{name[:64]}' must be written '{ours}'.", param=ours)
        elif not doubtful and body.rfind(quoted, 0, body.rfind(quoted)) >= 0:
            doubtful = True  # the other may be nested, or a value
    if doubtful:
        _refuse_repeated(splice.members(body), _DECISIVE)


def _refuse_repeated(found: list[splice.Member], names: Any, prefix: str = "") -> None:
    seen: set[str] = set()
    for member in found:
        if member.name in seen and member.name in names:
            param = prefix + member.name
            raise InvalidRequest(f"'{param}' is given twice; give it once.", param=param)
        seen.add(member.name)


def _refuse_depth(document: Json) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise InvalidRequest(f"The body is nested deeper than {DEEPEST} levels.")


def _output_limit(document: Json) -> tuple[int | None, str]:
    """The larger of the two parameters where both are given: providers differ in which one counts."""
    limit, limit_name = None, ""
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if value is None:
            continue
        if type(value) is not int or value < 1:
            raise _wrong(name, "a whole number of tokens, at least 1", value)
        if limit is None or value > limit:
            limit, limit_name = value, name
    return limit, limit_name


def _choices(document: Json) -> int:
    value = document.get("n")
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= MOST_CHOICES:
        raise _wrong("n", f"a whole number from 1 to {MOST_CHOICES}", value)
    return value


def _wants_usage(body: bytes, document: Json) -> bool:
    options = document.get("stream_options")
    if not options:
        return False
    if body.find(b'"include_usage"') != body.rfind(b'"include_usage"') or b"\\u00" in body:
        span = splice.Object(body).locate(b"stream_options")
        if span:
            found = splice.members(body, span[0])
            _refuse_repeated(found, ("include_usage",), "stream_options.")
    value = options.get("include_usage")
    if value is not None and type(value) is not bool:
        raise _wrong("stream_options.include_usage", "true or false", value)
    return bool(value)


def _attribution(document: Json) -> tuple[str, dict[str, str]]:
    """Who asked, by the body's own fields. They are shown, never trusted, and never rewritten."""
    user = document.get("user") or document.get("safety_identifier")
    metadata = document.get("metadata")
    if not metadata:
        return _shown(user or ""), {}
    texts = {_shown(name): _shown(text) for name, text in metadata.items() if type(text) is str}
    return _shown(user or ""), texts


def _shown(text: str) -> str:
    """Short enough for a column, and without NUL, which PostgreSQL's text can't hold."""
    return text[:_LONGEST_NAME].replace("\x00", "") if text else ""


def _unbounded(model: str, document: Json) -> tuple[str, ...]:
    reasons = [name for name in _ADDS_INPUT if document.get(name) not in (None, False, [])]
    if _SEARCHING_MODEL.search(model):
        reasons.append(f"model {model}")
    if document.get("tools"):
        reasons += _server_tools(document["tools"])
    modalities = document.get("modalities")
    if isinstance(modalities, list):
        reasons += [f"{m} output" for m in modalities if isinstance(m, str) and m != "text"]
    if document.get("audio") and "audio output" not in reasons:
        reasons.append("audio output")
    for message in document["messages"]:
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


def _refuse_wrong_types(document: Json) -> None:
    for name in _TYPES.keys() & document.keys():
        kind, what = _TYPES[name]
        value = document[name]
        if type(value) is not kind and value is not None:
            raise _wrong(name, what, value)


def _wrong(name: str, what: str, value: object) -> InvalidRequest:
    if value is None:
        return InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    return InvalidRequest(f"'{name}' must be {what}, not {_kind(value)}.", param=name)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    return "an array" if isinstance(value, list) else "an object"
