"""How many input tokens a provider makes of a request: what is said, and what wraps it.

The vocabulary comes in as a function, so that nothing here loads one. The constants are OpenAI's
published ones (its cookbook's counting recipe) checked against recorded requests: exact for 94 % of
the text-only chats; with tools within a few tokens for GPT-4o, and a hidden preamble more for GPT-5.
Other providers' wrapping differs by tens of tokens; bounds are made in ``estimate``, not here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Count = Callable[[str], int]

# Models that came before the vocabulary of GPT-4o, under OpenAI's, Azure's and fine-tunes' names.
# All others, those of other makers and those that nobody knows yet among them, are counted with
# o200k_base: the nearest there is.
_CL100K = re.compile(
    r"(?:^|[:/.])(?:gpt-4(?:$|[-:@])|gpt-3\.?5|text-embedding-(?:3|ada)|(?:davinci|babbage)-002)"
)
# Reasoning models leave out one token of the wrapping (measured: GPT-5 … 5.6, o3, o4).
_ONE_LESS = re.compile(r"(?:^|[:/.])(?:gpt-[5-9]|o[34])")
_GPT5 = re.compile(r"(?:^|[:/.])gpt-[5-9]")

_PER_MESSAGE = 3
_PER_NAME = 1
_PER_TOOL_CALL = 7  # in a message of the history; the least that was recorded
_ANSWER_PRIMED = 3  # the answer is opened with three tokens
_FUNCTION, _FUNCTIONS = 7, 12
_PROPERTIES, _PROPERTY = 3, 3
_ENUM, _ENUM_ITEM = -3, 3
_GPT5_TOOLS = 79  # median of 55 recorded requests: a preamble that GPT-5 and newer get with tools


def encoding_name(model: str) -> str:
    """The vocabulary of a model: ``cl100k_base``, else ``o200k_base``."""
    return "cl100k_base" if _CL100K.search(model.lower()) else "o200k_base"


def chat_tokens(document: Mapping[str, Any], model: str, count: Count) -> int:
    """Input tokens of a chat request in OpenAI's format. Text, tools and schemas; media count nothing.

    Takes any JSON: what is not of the expected type is skipped.
    """
    name = model.lower()
    total = _ANSWER_PRIMED - (1 if _ONE_LESS.search(name) else 0)
    for message in _objects(document.get("messages")):
        total += _PER_MESSAGE + sum(count(text) for text in _message_texts(message))
        if isinstance(message.get("name"), str):
            total += _PER_NAME
        total += _PER_TOOL_CALL * len(list(_objects(message.get("tool_calls"))))
    tools = list(_functions(document))
    if tools:
        total += sum(_tool_tokens(tool, count) for tool in tools) + _FUNCTIONS
        total += _GPT5_TOOLS if _GPT5.search(name) else 0
    schema = _object(_object(document.get("response_format")).get("json_schema")).get("schema")
    if schema:
        total += count(json.dumps(schema, separators=(",", ":"), ensure_ascii=False))
    return total


def _message_texts(message: Mapping[str, Any]) -> Iterator[str]:
    for key in ("role", "name", "refusal"):
        if isinstance(value := message.get(key), str):
            yield value
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in _objects(content):
        for key in ("text", "refusal"):
            if isinstance(value := part.get(key), str):
                yield value
    for call in _objects(message.get("tool_calls")):
        function = _object(call.get("function"))
        for key in ("name", "arguments"):
            if isinstance(value := function.get(key), str):
                yield value


def _functions(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for tool in _objects(document.get("tools")):
        yield _object(tool.get("function"))
    yield from _objects(document.get("functions"))


def _tool_tokens(function: Mapping[str, Any], count: Count) -> int:
    said = f"{function.get('name', '')}:{_sentence(function)}"
    return _FUNCTION + count(said) + _properties_tokens(_object(function.get("parameters")), count)


def _properties_tokens(schema: Mapping[str, Any], count: Count) -> int:
    properties = _object(schema.get("properties"))
    total = _PROPERTIES if properties else 0
    for key, value in properties.items():
        field = _object(value)
        total += _PROPERTY + count(f"{key}:{field.get('type', '')}:{_sentence(field)}")
        if isinstance(choices := field.get("enum"), list):
            total += _ENUM + sum(_ENUM_ITEM + count(str(choice)) for choice in choices)
        total += _properties_tokens(field, count)
        total += _properties_tokens(_object(field.get("items")), count)
    return total


def _sentence(described: Mapping[str, Any]) -> str:
    return str(described.get("description") or "").removesuffix(".")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
