"""A request of Anthropic's messages: what is read from it, and what of its cost no body bounds."""

from collections.abc import Iterator
from typing import Any, Final

from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.body_check import (
    FLAG,
    OBJECT,
    TEXT,
    Types,
    decisive,
    model_name,
    read_object,
    shown,
    whole_number,
    wrong,
)
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.json_text import json_text, objects

_DECISIVE: Final = decisive(
    "compaction",
    "container",
    "context_management",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "model",
    "service_tier",
    "speed",
    "stream",
    "system",
    "thinking",
    "tools",
)
_TYPES: Final[Types] = {
    "inference_geo": TEXT,
    "metadata": OBJECT,
    "service_tier": TEXT,
    "speed": TEXT,
    "stream": FLAG,
    "thinking": OBJECT,
    "tools": (list, "an array of tools"),
}

# Members that make the provider add input, call tools or ask other models by itself.
_ADDS: Final = ("compaction", "container", "fallbacks", "mcp_servers", "thread")
# Edits of the context that only take input away.
_CLEARS: Final = ("clear_tool_uses", "clear_thinking")
# Tools that the client runs, of which Anthropic writes the prompt; tokens at most, with a margin.
_CLIENT_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
_TOOL_PROMPT: Final = 2_000
# Pictures are scaled down to at most 1.15 megapixels (about 1,600 tokens), by newer models to 3.75
# (4,784). Other servers of this API run any model: Qwen's make up to 16,384 of one.
_CLAUDE_PICTURE: Final = 5_000
_ANY_PICTURE: Final = 16_384
# Blocks whose tokens are no more than their bytes.
_PLAIN_BLOCKS: Final = frozenset(
    (
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "tool_reference",
        "server_tool_use",
        "mcp_tool_use",
        "mcp_tool_result",
        "search_result",
        "image",
        "document",
    )
)
_DEEPEST: Final = 8  # content within content; there are three in practice


def inspect(body: bytes, addressed: str = "") -> RequestFacts:
    """Read a request. Raises InvalidRequest, naming the parameter.

    ``addressed`` is the model that the path names: it counts, whatever the body says.
    """
    document = read_object(body, _DECISIVE, _TYPES)
    model = model_name(addressed or document.get("model"))
    if type(document.get("messages")) is not list:
        raise wrong("messages", "an array of messages", document.get("messages"))
    tools = [tool for tool in document.get("tools") or () if isinstance(tool, dict)]
    contents = _Contents(document)
    picture = _CLAUDE_PICTURE if "claude" in model.lower() else _ANY_PICTURE
    prompts = sum(_is_client_tool(str(tool.get("type"))) for tool in tools)
    return RequestFacts(
        model=model,
        stream=document.get("stream") or False,
        output_limit=whole_number(document.get("max_tokens"), "max_tokens", 0),
        output_limit_name="max_tokens",
        service_tier=document.get("service_tier") or "",
        variants=tuple(document[n] for n in ("speed", "inference_geo") if document.get(n)),
        user=shown((document.get("metadata") or {}).get("user_id")),
        has_tools=bool(tools),
        unbounded=tuple(dict.fromkeys((*_added(document), *_servers(tools), *contents.reasons))),
        more_input=contents.pictures * picture + prompts * _TOOL_PROMPT,
        document=document,
    )


def asks_only_for_1h(document: Json) -> bool:
    """Whether the request has marks for the cache, and each of them is for an hour."""
    lives = [mark.get("ttl") for mark in _cache_marks(document, 0)]
    return bool(lives) and all(life == "1h" for life in lives)


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that the provider tokenizes."""
    yield from _texts(document.get("system"), 0)
    for message in objects(document.get("messages")):
        yield from _texts(message.get("content"), 0)
    for tool in objects(document.get("tools")):
        yield json_text({k: v for k, v in tool.items() if k != "cache_control"})
    output = document.get("output_config")
    form = output.get("format") if isinstance(output, dict) else document.get("output_format")
    if isinstance(form, dict):
        yield json_text(form.get("schema"))


class _Contents:
    """What the blocks of a request hold beside text."""

    def __init__(self, document: Json) -> None:
        self.pictures = 0
        self.reasons: list[str] = []
        self._look(document.get("system"), 0)
        for message in objects(document.get("messages")):
            self._look(message.get("content"), 0)

    def _look(self, content: Any, depth: int) -> None:
        if depth > _DEEPEST:
            self.reasons.append("content nested too deep")
            return
        for block in objects(content):
            kind = block.get("type", "text")
            if kind not in _PLAIN_BLOCKS:
                self.reasons.append(str(kind)[:64])
            elif kind in ("image", "document"):
                self._source(kind, block.get("source"), depth)
            self._look(block.get("content"), depth + 1)

    def _source(self, kind: str, source: Any, depth: int) -> None:
        origin = source.get("type") if isinstance(source, dict) else None
        if kind == "image" and origin == "base64":
            self.pictures += 1
        elif kind == "document" and origin == "content":
            self._look(source.get("content"), depth + 1)
        elif kind != "document" or origin != "text":
            # Of a PDF, pages are read both as text, which it holds compressed, and as pictures.
            self.reasons.append(f"{kind} by {str(origin)[:32]}")


def _added(document: Json) -> Iterator[str]:
    for name in _ADDS:
        if document.get(name) not in (None, [], {}):
            yield name
    context = document.get("context_management")
    edits = context.get("edits") if isinstance(context, dict) else None
    for edit in objects(edits):
        if not str(edit.get("type")).startswith(_CLEARS):
            yield f"context_management {str(edit.get('type'))[:64]}"


def _servers(tools: list[Json]) -> Iterator[str]:
    for tool in tools:
        kind = tool.get("type")
        if kind not in (None, "custom") and not _is_client_tool(str(kind)):
            yield f"server tool {str(kind)[:64]}"


def _is_client_tool(kind: str) -> bool:
    return kind.startswith(_CLIENT_TOOLS)


def _cache_marks(value: Any, depth: int) -> Iterator[Json]:
    if depth > 2 * _DEEPEST:
        return
    if isinstance(value, dict):
        mark = value.get("cache_control")
        if isinstance(mark, dict):
            yield mark
        for name in ("system", "messages", "tools", "content", "source"):
            if name in value:
                yield from _cache_marks(value[name], depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _cache_marks(item, depth + 1)


def _texts(content: Any, depth: int) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    if depth > _DEEPEST:
        return
    for block in objects(content):
        for name in ("text", "thinking", "title", "context", "name"):
            if isinstance(block.get(name), str):
                yield block[name]
        if "input" in block:
            yield json_text(block["input"])
        yield from _texts(block.get("content"), depth + 1)
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "text":
            yield from _texts(source.get("data"), depth + 1)
        elif isinstance(source, dict):
            yield from _texts(source.get("content"), depth + 1)
