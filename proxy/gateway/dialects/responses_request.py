"""A request to OpenAI's responses API: what is read from it, and why it may not be bounded."""

import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.body_check import DEEPEST, FLAG, decisive, read_object
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.json_text import json_text

LIMIT: Final = "max_output_tokens"

# Members that make the provider add input that the body does not show, or choose the model.
_ADDS_INPUT: Final = (
    "previous_response_id",
    "conversation",
    "prompt",
    "context_management",
    "search_parameters",  # xAI
    "plugins",  # OpenRouter
    "models",  # OpenRouter
)
_DECISIVE: Final = decisive(
    *_ADDS_INPUT,
    LIMIT,
    "background",
    "input",
    "instructions",
    "model",
    "service_tier",
    "stream",
    "tools",
)
_TYPES: Final = {
    **request_body.TYPES,
    "background": FLAG,
    "tools": (list, "an array of tools"),
}

# Run by the client: what they give comes back as input of another request.
_CLIENT_TOOLS: Final = frozenset(
    ("function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview")
)
_TEXT_PARTS: Final = frozenset(
    ("input_text", "output_text", "refusal", "summary_text", "reasoning_text", "text")
)
# Items whose input is no more than what they say.
_TEXT_ITEMS: Final = frozenset(
    (
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "mcp_approval_response",
    )
)
_SEARCHING_MODEL = re.compile(r":online$|-search-|deep-research|^(?:groq/)?compound\b")
_MOST_TEXT_KEYS: Final = ("text", "refusal", "arguments", "output", "input", "name", "code")


def inspect(body: bytes, addressed: str, *, bounded: bool = True) -> RequestFacts:
    """Read a request. Raises InvalidRequest, naming the parameter.

    ``bounded`` is False where the endpoint takes no output limit.
    """
    document = read_object(body, _DECISIVE, _TYPES)
    if document.get("model") is None and document.get("prompt") is not None and not addressed:
        raise InvalidRequest(
            "Name the model beside the prompt: what may be used, and what it costs, goes by it.",
            param="model",
        )
    model = request_body.model_of(document, addressed)
    limit = request_body.output_limit(document, LIMIT) if bounded else None
    user, metadata = request_body.attribution(document)
    reasons = list(_unbounded(document, model))
    if not bounded:
        reasons.append("no output limit")
    return RequestFacts(
        model=model,
        stream=document.get("stream") or False,
        output_limit=limit,
        output_limit_name=LIMIT,
        wants_usage=True,  # it is always there
        service_tier=document.get("service_tier") or "",
        user=user,
        metadata=metadata,
        has_tools=bool(document.get("tools")),
        background=document.get("background") is True,
        unbounded=request_body.once(reasons),
        document=document,
    )


def _unbounded(document: Json, model: str) -> Iterator[str]:
    for name in _ADDS_INPUT:
        if document.get(name) not in (None, False, []):
            yield name
    if _SEARCHING_MODEL.search(model):
        yield f"model {model}"
    for tool in document.get("tools") or ():
        kind = str(tool.get("type", "function")) if type(tool) is dict else "unknown"
        if kind not in _CLIENT_TOOLS:
            yield f"server tool {kind}"
    items = document.get("input")
    if type(items) is list:
        for item in items:
            yield from _in_item(item)


def _in_item(item: Any) -> Iterator[str]:
    if type(item) is not dict:
        return
    kind = str(item.get("type", "message" if "role" in item else "item_reference"))
    if kind in _TEXT_ITEMS:
        for name in ("content", "output", "summary"):
            yield from _media(item.get(name))
    elif kind in _TEXT_PARTS:
        return
    else:
        yield kind


def _media(parts: Any) -> Iterator[str]:
    """What is no text among the parts of a content."""
    if type(parts) is dict:
        parts = [parts]
    if type(parts) is not list:
        return
    for part in parts:
        if type(part) is dict:
            kind = str(part.get("type", "input_text"))
            if kind not in _TEXT_PARTS:
                yield kind


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that the provider tokenizes."""
    for name in ("instructions", "input"):
        yield from _texts(document.get(name))
    if document.get("tools"):
        yield json_text(document["tools"])
    form = document.get("text")
    if type(form) is dict and type(form.get("format")) is dict and form["format"].get("schema"):
        yield json_text(form["format"]["schema"])


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if type(value) is str:
        yield value
    elif type(value) is list and depth < DEEPEST:
        for item in value:
            yield from _texts(item, depth + 1)
    elif type(value) is dict and depth < DEEPEST:
        for name in ("content", "summary", *_MOST_TEXT_KEYS):
            if name in value:
                yield from _texts(value[name], depth + 1)
