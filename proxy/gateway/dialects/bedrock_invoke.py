"""Bedrock's InvokeModel: each maker's own format, and Bedrock's counts beside it."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects import anthropic_request, json_object, splice
from proxy.gateway.dialects.anthropic import AnthropicMessages
from proxy.gateway.dialects.aws_events import AwsEvents
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.bedrock_answer import InvokeReader
from proxy.gateway.dialects.bedrock_models import Make, make_of
from proxy.gateway.dialects.body_check import model_name, refuse_depth
from proxy.gateway.dialects.chat_body import Json, parse
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import aws_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.json_object import inner, member, whole
from proxy.gateway.dialects.route import Route

_DOCUMENTS_OF_A_SEARCH: Final = 100  # a reranker's query
_MOST_CHOICES: Final = 128
_CLAUDE_PICTURE, _ANY_PICTURE = 5_000, 16_384  # tokens at most
_PICTURES: Final = frozenset(("image", "image_url", "images"))
# Media whose tokens nothing in the body bounds.
_MEDIA: Final = frozenset(
    ("video", "audio", "document", "file", "s3Location", "s3_location", "inputImage", "inputVideo")
)
_URLS: Final = ("http://", "https://", "s3://")
_DEEPEST: Final = 12


class Invoke:
    """``/model/{model}/invoke`` and ``invoke-with-response-stream``. Has no state: one serves all calls."""

    name = "bedrock_invoke"
    family = "bedrock"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = parse(body)
        refuse_depth(document)
        model = model_name(address.model)
        stream = address.path.endswith(b"-stream")
        if "anthropic." in model and "messages" in document:
            return replace(anthropic_request.inspect(body, model), stream=stream)
        make = make_of(model, document)
        holder = _holder(body, document, make)
        limit = make.limit[-1] if make.limit else ()
        media = _Media(document)
        return RequestFacts(
            model=model,
            stream=stream,
            output_limit=whole(member(holder, *limit), ".".join(_names(make))),
            output_limit_name=".".join(_names(make)),
            choices=_choices(document, make),
            has_tools=any(document.get(n) for n in ("tools", "toolConfig", "functions")),
            unbounded=tuple(dict.fromkeys((*_reasons(make, model), *media.reasons))),
            more_input=media.pictures
            * (_CLAUDE_PICTURE if "claude" in model.lower() else _ANY_PICTURE),
            makes_text=make.text,
            beside=_beside(document, make),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Write the cap where this make has it; the model is in the path."""
        if patch.output_cap is None or not patch.limit_name:
            return body
        if b'"anthropic_version"' in body:
            return _CLAUDE.patch(body, Patch(output_cap=patch.output_cap))
        path = tuple(_SPELLINGS.get(name, (name,)) for name in patch.limit_name.split("."))
        return json_object.set_number(body, path, patch.output_cap)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As it was asked for; an error is JSON all the same."""
        return facts.stream and content_type != "application/json"

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader, calibrated = InvokeReader(facts, watch.headers), calibration(facts.model)
        if watch.streamed:
            return EventScanner(reader, AwsEvents(wrapped=True), watch, calibrated)
        return DocumentScanner(reader, watch, calibrated)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes."""
        return "\n".join(_texts(facts.document, 0))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in AWS's shape."""
        return aws_error(refusal)


_CLAUDE: Final = AnthropicMessages()

# The other spelling of a limit that is written under its first.
_SPELLINGS: Final = {
    "max_new_tokens": ("max_new_tokens", "maxTokens"),
    "max_completion_tokens": ("max_completion_tokens", "max_tokens"),
}


def _holder(body: bytes, document: Json, make: Make) -> Json:
    """The object that has the limit. Raises InvalidRequest where it could be read in two ways."""
    decisive: list[tuple[str, ...]] = [("messages",)]
    if make.choices:
        decisive.append((make.choices,))
    if make.limit:
        decisive.append(make.limit[0])
    json_object.refuse_doubtful(body, decisive)
    if len(make.limit) < 2:  # noqa: PLR2004
        return document
    holder = inner(document, *make.limit[0])
    if holder:
        start = next(m.value[0] for m in splice.members(body) if m.name in make.limit[0])
        json_object.refuse_doubtful(body, make.limit[1:], start)
    return holder


def _names(make: Make) -> list[str]:
    return [names[0] for names in make.limit]


def _choices(document: Json, make: Make) -> int:
    choices = whole(document.get(make.choices), make.choices) if make.choices else None
    return min(choices or 1, _MOST_CHOICES)


def _reasons(make: Make, model: str) -> Iterator[str]:
    if not make.known:
        yield f"model {model[:64]} of an unknown make"


def _beside(document: Json, make: Make) -> Usage:
    if make.searches:
        documents = document.get("documents")
        count = len(documents) if isinstance(documents, list) else 1
        return Usage(searches=max(1, -(-count // _DOCUMENTS_OF_A_SEARCH)))
    if make.pictures:
        where, name = make.pictures
        holder = inner(document, where) if where else document
        return Usage(images=whole(holder.get(name), name) or 1)
    return EMPTY


class _Media:
    """Pictures, which have a bound, and other media, which have none."""

    def __init__(self, document: Json) -> None:
        self.pictures = 0
        self.reasons: list[str] = []
        for name in ("messages", "system", "inputs", "content", "images", *_MEDIA):
            if name in _MEDIA or name == "images":
                self._look({name: document.get(name)} if name in document else None, 0)
            else:
                self._look(document.get(name), 0)

    def _look(self, value: Any, depth: int) -> None:
        if depth > _DEEPEST:
            self.reasons.append("content nested too deep")
        elif isinstance(value, list):
            for item in value:
                self._look(item, depth + 1)
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind in _MEDIA:
                self.reasons.append(kind)
            for name, inside in value.items():
                self._member(
                    "image" if name == "source" and kind == "image" else name, inside, depth
                )

    def _member(self, name: str, value: Any, depth: int) -> None:
        if name in _MEDIA and value is not None:
            self.reasons.append(name)
        elif name in _PICTURES:
            self.pictures += len(value) if isinstance(value, list) else 1
            self._refuse_address(value, depth)
        elif name in ("content", "contents", "toolResult"):
            self._look(value, depth + 1)

    def _refuse_address(self, value: Any, depth: int) -> None:
        """Of a picture by its address, the size is anybody's."""
        if isinstance(value, str) and value.startswith(_URLS):
            self.reasons.append("image by address")
        elif isinstance(value, dict | list) and depth <= _DEEPEST:
            for inside in value.values() if isinstance(value, dict) else value:
                self._refuse_address(inside, depth + 1)


_NO_PROMPT: Final = frozenset(("data", "bytes", "source", "image", "image_url", "images"))


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Every text of a body that is no picture: which members are prompts differs by make."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, depth + 1)
    elif isinstance(value, dict):
        for name, inside in value.items():
            if name in ("tools", "toolConfig"):
                yield orjson.dumps(inside).decode()
            elif name not in _NO_PROMPT:
                yield from _texts(inside, depth + 1)


_INVOKE: Final = Invoke()
ROUTES: Final = (
    Route("POST", "/model/{model}/invoke", _INVOKE, "invoke", holds=""),
    Route("POST", "/model/{model}/invoke-with-response-stream", _INVOKE, "invoke", holds=""),
)
