"""What is read of Gemini's requests: generateContent, embedContent and their kin."""

import re
from collections.abc import Iterator
from typing import Any, Final

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import json_object, splice
from proxy.gateway.dialects.base import Address, RequestFacts
from proxy.gateway.dialects.body_check import model_name, refuse_depth, shown
from proxy.gateway.dialects.chat_body import parse
from proxy.gateway.dialects.json_object import Json, inner, items, member, whole
from proxy.gateway.dialects.json_text import json_text

_CONFIG: Final = ("generationConfig", "generation_config")
_LIMIT: Final = ("maxOutputTokens", "max_output_tokens")
_CHOICES: Final = ("candidateCount", "candidate_count")
_SYSTEM: Final = ("systemInstruction", "system_instruction")
_CACHED: Final = ("cachedContent", "cached_content")
_MODALITIES: Final = ("responseModalities", "response_modalities")
_TIER: Final = ("serviceTier", "service_tier")
_DECLARATIONS: Final = ("functionDeclarations", "function_declarations")
_SCHEMAS: Final = (
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "response_json_schema",
)
CAP_PATH: Final = (_CONFIG, _LIMIT)

_DECISIVE: Final = (
    _CONFIG,
    _CACHED,
    _TIER,
    _SYSTEM,
    ("contents",),
    ("tools",),
    ("labels",),
    ("model",),
)
_DECISIVE_IN_CONFIG: Final = (_LIMIT, _CHOICES, _MODALITIES)
_MOST_CHOICES = 128
_LONGEST_NAME = 512
_FILE: Final = ("fileData", "file_data")
_INLINE: Final = ("inlineData", "inline_data")
# A part's members that the provider reads as text, or not at all.
_WORDS: Final = frozenset(
    {
        "text",
        "thought",
        "thoughtSignature",
        "thought_signature",
        "functionCall",
        "function_call",
        "functionResponse",
        "function_response",
        "executableCode",
        "executable_code",
        "codeExecutionResult",
        "code_execution_result",
        "toolCall",
        "toolResponse",
        "partMetadata",
    }
)
# Models that answer with pictures or speech, whose tokens no documented limit covers.
_MEDIA_MODEL = re.compile(r"-image\b|-tts\b|imagen|native-audio|lyria|veo")


def inspect(
    body: bytes, address: Address, variants: tuple[str, ...], *, stream: bool
) -> RequestFacts:
    """Read a generateContent request. Raises InvalidRequest, naming the parameter."""
    document = read(body)
    config = inner(document, *_CONFIG)
    if config:
        start = next(m.value[0] for m in splice.members(body) if m.name in _CONFIG)
        json_object.refuse_doubtful(body, _DECISIVE_IN_CONFIG, start)
    choices = whole(member(config, *_CHOICES), "generationConfig.candidateCount") or 1
    if choices > _MOST_CHOICES:
        raise InvalidRequest(
            f"'generationConfig.candidateCount' must be at most {_MOST_CHOICES}.",
            param="generationConfig.candidateCount",
        )
    tier = member(document, *_TIER)
    tools = items(document, "tools")
    return RequestFacts(
        model=model_name(address.model),
        stream=stream,
        output_limit=whole(member(config, *_LIMIT), "generationConfig.maxOutputTokens"),
        output_limit_name="generationConfig.maxOutputTokens",
        choices=choices,
        service_tier=tier if type(tier) is str and len(tier) <= _LONGEST_NAME else "",
        metadata=_labels(document),
        has_tools=bool(tools),
        unbounded=_unbounded(document, config, tools, address.model),
        variants=variants,
        document=document,
    )


def inspect_embedding(body: bytes, address: Address, variants: tuple[str, ...]) -> RequestFacts:
    """Read an embedContent or batchEmbedContents request. Raises InvalidRequest."""
    document = read(body)
    contents = [document.get("content")]
    contents += [r.get("content") for r in items(document, "requests") if type(r) is dict]
    return RequestFacts(
        model=model_name(address.model),
        variants=variants,
        makes_text=False,
        unbounded=tuple(dict.fromkeys(r for c in contents for r in _media_in(c))),
        document=document,
    )


def read(body: bytes) -> Json:
    """The body, with nothing in it that could be read in two ways. Raises InvalidRequest."""
    document = parse(body)
    refuse_depth(document)
    json_object.refuse_doubtful(body, _DECISIVE)
    return document


def prompt_pieces(document: Json) -> Iterator[str]:
    """Every text of a request that the provider tokenizes."""
    yield from _texts(member(document, *_SYSTEM))
    for name in ("contents", "content"):
        yield from _texts(document.get(name))
    requests = document.get("requests")
    for request in requests if type(requests) is list else ():
        if type(request) is dict:
            yield from _texts(request.get("content"))
    if document.get("tools"):
        yield json_text(document["tools"])
    config = member(document, *_CONFIG)
    schema = member(config, *_SCHEMAS) if type(config) is dict else None
    if schema is not None:
        yield json_text(schema)


_SPOKEN: Final = tuple(
    (name, re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), name))
    for name in ("functionCall", "functionResponse", "executableCode", "codeExecutionResult")
)


def spoken_in(part: Json) -> Iterator[tuple[str, str]]:
    """The text of one part, as (what it is, text)."""
    text = part.get("text")
    if type(text) is str and text:
        yield "thought" if part.get("thought") is True else "text", text
    for name, snake in _SPOKEN:
        value = member(part, name, snake)
        if type(value) is dict:
            yield name, json_text({k: v for k, v in value.items() if k != "id"})


def _texts(value: object) -> Iterator[str]:
    """The texts of a content, a list of contents, a list of parts, or a string."""
    if type(value) is str:
        yield value
    elif type(value) is list:
        for item in value:
            yield from _texts(item)
    elif type(value) is dict:
        if "parts" in value:
            yield from _texts(value["parts"])
        else:
            for _, text in spoken_in(value):
                yield text


def _labels(document: Json) -> dict[str, str]:
    labels = document.get("labels")
    if type(labels) is not dict:
        return {}
    return {shown(name): shown(value) for name, value in labels.items() if type(value) is str}


def _unbounded(document: Json, config: Json, tools: list[Any], model: str) -> tuple[str, ...]:
    reasons: list[str] = []
    if member(document, *_CACHED):
        reasons.append("cachedContent")
    for tool in tools:
        if type(tool) is dict:
            reasons += [f"server tool {n[:64]}" for n in tool if n not in _DECLARATIONS]
    modalities = member(config, *_MODALITIES)
    for modality in modalities if type(modalities) is list else ():
        if modality not in ("TEXT", 1):
            reasons.append(f"{str(modality)[:16]} output")
    if not modalities and _MEDIA_MODEL.search(model):
        reasons.append(f"model {model[:64]}")
    for content in [member(document, *_SYSTEM), *_contents(document)]:
        reasons += _media_in(content)
    return tuple(dict.fromkeys(reasons))


def _contents(document: Json) -> list[Any]:
    contents = document.get("contents")
    return contents if type(contents) is list else [contents]


def _media_in(content: object) -> Iterator[str]:
    """What of a content is no text: its tokens can't be told from its bytes."""
    parts = content.get("parts") if type(content) is dict else None
    for part in parts if type(parts) is list else [parts]:
        if type(part) is not dict:
            continue
        if member(part, *_FILE) is not None:
            yield "fileData"
        inline = member(part, *_INLINE)
        if type(inline) is dict:
            kind = member(inline, "mimeType", "mime_type")
            yield f"inlineData {str(kind)[:40]}"
        for name in part.keys() - _WORDS - {*_FILE, *_INLINE}:
            if name not in (
                "videoMetadata",
                "video_metadata",
                "mediaResolution",
                "media_resolution",
            ):
                yield name[:40]
