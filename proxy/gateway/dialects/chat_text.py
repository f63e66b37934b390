"""What is text in the chat format: of a prompt, of an answer's message, of a stream's delta.

Whatever has the wrong type is no text; nothing here raises on any JSON.
"""

from collections.abc import Iterator
from typing import Any

from proxy.gateway.dialects.json_text import json_text

Json = dict[str, Any]

_TEXT_IN_PARTS = ("text", "refusal", "thinking", "content", "transcript")
_DEEPEST = 8  # parts within parts; there are two in practice


def spoken(part: Json) -> Iterator[tuple[str, str]]:
    """The text of a message or delta as (where it stands, text): each place is one run of tokens."""
    # Some send the same thoughts under two names.
    thoughts = "reasoning_content" if part.get("reasoning_content") else "reasoning"
    for place in ("content", "refusal", thoughts, "audio"):
        value = part.get(place)
        if value:
            yield from _texts(value, place)
    if "function_call" in part:
        yield from _function(part["function_call"], "function_call")
    calls = part.get("tool_calls")
    if isinstance(calls, list):
        for position, call in enumerate(calls):
            if isinstance(call, dict):
                yield from _tool_call(call, position)


def spoken_in_choices(answer: Json, inside: str) -> Iterator[tuple[str, str]]:
    """The text of all choices; ``inside`` is ``delta`` or ``message``."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return
    for choice in choices:
        if isinstance(choice, dict):
            part = choice.get(inside)
            index = choice.get("index", 0)
            if isinstance(part, dict):
                for place, text in spoken(part):
                    yield f"{index}.{place}", text
            elif isinstance(choice.get("text"), str):
                yield f"{index}.text", choice["text"]


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that the provider tokenizes: messages, tools, functions, the schema."""
    messages = document.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict):
                yield from _message(message)
    for name in ("tools", "functions"):
        if document.get(name):
            yield json_text(document[name])
    form = document.get("response_format")
    if isinstance(form, dict) and form.get("json_schema"):
        yield json_text(form["json_schema"])
    prediction = document.get("prediction")
    if isinstance(prediction, dict):
        for _, text in _texts(prediction.get("content"), ""):
            yield text


def prompt_text(document: Json) -> str:
    """All text of a request that the provider tokenizes, without what its template adds."""
    return "\n".join(prompt_pieces(document))


def _message(message: Json) -> Iterator[str]:
    if isinstance(name := message.get("name"), str):
        yield name
    for _, text in spoken(message):
        yield text


def _tool_call(call: Json, position: int) -> Iterator[tuple[str, str]]:
    where = f"tool.{call.get('index', position)}"
    for kind in ("function", "custom"):
        if call.get(kind) is not None:
            yield from _function(call[kind], where)


def _function(function: object, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(function, dict):
        return
    for field in ("name", "arguments", "input"):
        value = function.get(field)
        if isinstance(value, str) and value:
            yield f"{where}.{field}", value
        elif isinstance(value, dict | list):  # some providers send arguments as an object
            yield f"{where}.{field}", json_text(value)


def _texts(value: object, place: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The texts of a content: a string, or parts with text in them, each kind of which is a run."""
    if isinstance(value, str):
        if value:
            yield place, value
    elif isinstance(value, list) and depth < _DEEPEST:
        for part in value:
            yield from _texts(part, place, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        for field in _TEXT_IN_PARTS:
            if field in value:
                yield from _texts(value[field], f"{place}.{field}", depth + 1)
