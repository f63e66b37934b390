"""Bedrock's Converse: one format for all of its models."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from proxy.core.calibration import calibration
from proxy.core.errors import Refusal
from proxy.gateway.dialects import json_object, splice
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.aws_events import DAMAGED, EXCEPTION, AwsEvents, message
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.bedrock_usage import read_converse
from proxy.gateway.dialects.body_check import model_name, refuse_depth, shown
from proxy.gateway.dialects.chat_body import parse
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import aws_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.json_object import inner, whole
from proxy.gateway.dialects.json_text import json_text, objects
from proxy.gateway.dialects.notes import note_flag
from proxy.gateway.dialects.route import Route
from proxy.gateway.dialects.unmetered import Unmetered

_CONFIG: Final = ("inferenceConfig",)
_LIMIT: Final = ("maxTokens",)
_DECISIVE: Final = (
    _CONFIG,
    ("additionalModelRequestFields",),
    ("messages",),
    ("serviceTier",),
    ("system",),
    ("toolConfig",),
)
# Members of additionalModelRequestFields that could put the limit aside.
_LIMITS: Final = frozenset(
    (
        "maxtokens",
        "maxnewtokens",
        "maxgenlen",
        "maxtokencount",
        "maxtokenstosample",
        "maxcompletiontokens",
        "maxoutputtokens",
        "n",
        "numgenerations",
        "numresults",
        "bestof",
    )
)
_CLAUDE_PICTURE: Final = 5_000  # tokens at most, see anthropic_request
_ANY_PICTURE: Final = 16_384
_WORDS: Final = frozenset(
    ("text", "toolUse", "cachePoint", "reasoningContent", "citationsContent", "searchResult")
)


class Converse:
    """``/model/{model}/converse`` and ``converse-stream``. Has no state: one serves all calls."""

    name = "bedrock_converse"
    family = "bedrock"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = parse(body)
        refuse_depth(document)
        json_object.refuse_doubtful(body, _DECISIVE)
        config = inner(document, *_CONFIG)
        if config:
            start = next(m.value[0] for m in splice.members(body) if m.name in _CONFIG)
            json_object.refuse_doubtful(body, (_LIMIT,), start)
        model = model_name(address.model)
        contents = _Contents(document)
        tier = inner(document, "serviceTier").get("type")
        return RequestFacts(
            model=model,
            stream=address.path.endswith(b"-stream"),
            output_limit=whole(config.get("maxTokens"), "inferenceConfig.maxTokens"),
            output_limit_name="inferenceConfig.maxTokens",
            service_tier=tier if type(tier) is str else "",
            metadata=_metadata(document),
            has_tools=bool(inner(document, "toolConfig")),
            unbounded=tuple(dict.fromkeys((*_reasons(document, model), *contents.reasons))),
            more_input=contents.pictures
            * (_CLAUDE_PICTURE if "claude" in model.lower() else _ANY_PICTURE),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Write the cap; the model is in the path."""
        if patch.output_cap is None:
            return body
        return json_object.set_number(body, (_CONFIG, _LIMIT), patch.output_cap)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As it was asked for; an error is JSON all the same."""
        return facts.stream and content_type != "application/json"

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader, calibrated = ConverseReader(), calibration(facts.model)
        if watch.streamed:
            return EventScanner(reader, AwsEvents(), watch, calibrated)
        return DocumentScanner(reader, watch, calibrated)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes."""
        return "\n".join(_prompt(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in AWS's shape."""
        return aws_error(refusal)


class ConverseReader:
    """Reads an answer of Converse, whole or in the events of its stream."""

    __slots__ = ("scan",)

    usage_name = "usage"
    marks: tuple[bytes, ...] = (b'"usage"', b'"stopReason"', b'"serviceTier"')

    def __init__(self) -> None:
        self.scan = Scan()

    def quickly(self, body: bytes) -> bool:
        """Nothing is read without parsing."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what an answer says, or the event at the end of its stream, which is like it."""
        note_usage(self.scan, document.get("usage"))
        scan = self.scan
        tier = document.get("serviceTier")
        if isinstance(tier, dict) and isinstance(tier.get("type"), str):
            scan.service_tier = tier["type"]
        performance = document.get("performanceConfig")
        if isinstance(performance, dict) and performance.get("latency") == "optimized":
            scan.variants = ("optimized",)
        # A router of prompts says which model it chose: that one is billed.
        trace = document.get("trace")
        router = trace.get("promptRouter") if isinstance(trace, dict) else None
        invoked = router.get("invokedModelId") if isinstance(router, dict) else None
        if isinstance(invoked, str):
            scan.served_model = invoked.rpartition("/")[2]

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        if kind == "metadata":
            self.document(document)
            self.scan.finished = True

    def end(self, kind: str) -> None:
        """Note an exception, which comes as an event in an answer of status 200, or a damaged event."""
        note_end(self.scan, kind)

    def spoken(self, document: Json) -> Texts:
        """The text of the message."""
        output = document.get("output")
        message_ = output.get("message") if isinstance(output, dict) else None
        content = message_.get("content") if isinstance(message_, dict) else None
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, dict):
                for place, text in _said(block):
                    yield f"{place}.{index}", text

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one event."""
        del kind
        delta = document.get("delta")
        if isinstance(delta, dict):
            for place, text in _said(delta):
                yield f"{place}.{document.get('contentBlockIndex')}", text

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The end of the message, at its limit."""
        del frame
        usage = {"inputTokens": 0, "outputTokens": output_tokens, "totalTokens": output_tokens}
        ended = orjson.dumps({"usage": usage, "metrics": {"latencyMs": 0}})
        stopped = message("messageStop", b'{"stopReason":"max_tokens"}')
        return stopped + message("metadata", ended)


def note_usage(scan: Scan, raw: object) -> None:
    """Take a usage object of Converse."""
    reading = read_converse(raw) if isinstance(raw, dict) else None
    if reading is None:
        return
    scan.usage, scan.usage_raw = reading.usage, orjson.dumps(raw)
    for flag in reading.flags:
        note_flag(scan, flag)


def note_end(scan: Scan, kind: str) -> None:
    """Take what is no event: an exception, or what could not be read."""
    if kind == DAMAGED:
        note_flag(scan, DAMAGED)
    elif kind.startswith(EXCEPTION):
        scan.error = scan.error or kind.removeprefix(EXCEPTION).lower()[:64]


def _said(block: Json) -> Iterator[tuple[str, str]]:
    """The text of a block, or of a delta of one."""
    if isinstance(text := block.get("text"), str):
        yield "text", text
    reasoning = block.get("reasoningContent")
    if isinstance(reasoning, dict):
        inside = reasoning.get("reasoningText")
        text = (inside if isinstance(inside, dict) else reasoning).get("text")
        if isinstance(text, str):
            yield "reasoning", text
    tool = block.get("toolUse")
    if isinstance(tool, dict):
        given = tool.get("input")
        yield "tool", given if isinstance(given, str) else json_text(given)


class _Contents:
    """What the blocks of a request hold beside text."""

    def __init__(self, document: Json) -> None:
        self.pictures = 0
        self.reasons: list[str] = []
        for message_ in objects(document.get("messages")):
            self._look(message_.get("content"))
        self._look(document.get("system"))

    def _look(self, content: Any) -> None:
        for block in objects(content):
            for name, value in block.items():
                if name == "image" and _inline(value):
                    self.pictures += 1
                elif name in ("toolResult", "guardContent") and isinstance(value, dict):
                    self._look(value.get("content") if name == "toolResult" else [value])
                elif name not in _WORDS and name != "json":
                    self.reasons.append(name[:64])


def _inline(image: Any) -> bool:
    source = image.get("source") if isinstance(image, dict) else None
    return isinstance(source, dict) and set(source) == {"bytes"}


def _reasons(document: Json, model: str) -> Iterator[str]:
    if ":prompt/" in model or ":prompt-router/" in model or document.get("promptVariables"):
        yield "a stored prompt" if ":prompt/" in model else "a prompt router"
    more = document.get("additionalModelRequestFields")
    if more is not None and _sets_limit(more):
        yield "additionalModelRequestFields"
    config = document.get("toolConfig")
    for tool in objects(config.get("tools") if isinstance(config, dict) else None):
        for name in tool:
            if name not in ("toolSpec", "cachePoint"):
                yield f"server tool {name[:64]}"


def _sets_limit(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return any(
            name.replace("_", "").lower() in _LIMITS or _sets_limit(inside, depth + 1)
            for name, inside in value.items()
        )
    return isinstance(value, list) and any(_sets_limit(item, depth + 1) for item in value)


def _metadata(document: Json) -> dict[str, str]:
    return {
        shown(name): shown(value)
        for name, value in inner(document, "requestMetadata").items()
        if type(value) is str
    }


def _prompt(document: Json) -> Iterator[str]:
    yield from _texts(document.get("system"))
    for message_ in objects(document.get("messages")):
        yield from _texts(message_.get("content"))
    for name in ("toolConfig", "outputConfig"):
        if document.get(name):
            yield json_text(document[name])


def _texts(content: Any) -> Iterator[str]:
    for block in objects(content):
        for _, text in _said(block):
            yield text
        result = block.get("toolResult")
        if isinstance(result, dict):
            for part in objects(result.get("content")):
                inside = part.get("text")
                yield inside if isinstance(inside, str) else json_text(part.get("json"))
        guarded = block.get("guardContent")
        if isinstance(guarded, dict) and isinstance(guarded.get("text"), dict):
            yield str(guarded["text"].get("text", ""))


_CONVERSE: Final = Converse()
ROUTES: Final = (
    Route("POST", "/model/{model}/converse", _CONVERSE, "converse", holds=""),
    Route("POST", "/model/{model}/converse-stream", _CONVERSE, "converse", holds=""),
    Route(
        "POST",
        "/model/{model}/count-tokens",
        Unmetered("bedrock", aws_error),
        "count_tokens",
        metered=False,
        holds="",
    ),
)
