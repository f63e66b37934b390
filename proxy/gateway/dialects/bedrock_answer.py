"""What answers of InvokeModel say: in each maker's format, with Bedrock's own counts."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.core.usage import Usage
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.anthropic_answer import MessageReader
from proxy.gateway.dialects.anthropic_request import asks_only_for_1h
from proxy.gateway.dialects.aws_events import wrapped
from proxy.gateway.dialects.base import Headers, RequestFacts, Scan
from proxy.gateway.dialects.bedrock_converse import note_end
from proxy.gateway.dialects.bedrock_usage import (
    METRICS,
    read_body,
    read_headers,
    read_metrics,
)
from proxy.gateway.dialects.json_text import json_text
from proxy.gateway.dialects.notes import note_error, note_flag
from proxy.gateway.dialects.usage import INCONSISTENT

_TIER: Final = b"x-amzn-bedrock-service-tier"
_LATENCY: Final = b"x-amzn-bedrock-performanceconfig-latency"
# What says that a stream's answer is at its end, by make.
_ENDS: Final = ("stop_reason", "completionReason", "finish_reason", "messageStop", "metadata")
# Where makes put their text; what else is text in an answer says nothing.
_TEXTS: Final = frozenset(
    (
        "text",
        "outputText",
        "generation",
        "completion",
        "content",
        "thinking",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "arguments",
    )
)
_HOLDERS: Final = frozenset(
    (
        "choices",
        "completions",
        "content",
        "contentBlockDelta",
        "data",
        "delta",
        "function",
        "generations",
        "message",
        "output",
        "outputs",
        "reasoningContent",
        "reasoningText",
        "results",
        "tool_calls",
    )
)
_TOOLS: Final = ("toolUse", "input")
_DEEPEST: Final = 8


class InvokeReader:
    """Reads an answer, whole or in the events of its stream.

    Bedrock's counts are what is billed: in headers, or in the last event of a stream. What they don't
    say, such as for how long something stays in the cache, is taken from the body.
    """

    __slots__ = ("_claude", "_request", "_variants", "scan")

    usage_name = "usage"
    marks: tuple[bytes, ...] = (
        b'"amazon-bedrock-invocationMetrics"',
        b'"usage"',
        b'"stop_reason"',
        b'"completionReason"',
        b'"finish_reason"',
        b'"messageStop"',
        b'"message_stop"',
        b'"inputTextTokenCount"',
        b'"prompt_token_count"',
        b'"error"',
    )

    def __init__(self, facts: RequestFacts, headers: Headers) -> None:
        self._request = facts.document
        self._claude = MessageReader(facts.document)
        self.scan = Scan(usage=read_headers(headers))
        if self.scan.usage is not None:
            raw = {
                n.decode(): v.decode("latin-1") for n, v in headers if n.endswith(b"-token-count")
            }
            self.scan.usage_raw = orjson.dumps(raw)
        said = dict(headers)
        tier = said.get(_TIER, b"").decode("latin-1")
        self.scan.service_tier = tier[:40]
        if said.get(_LATENCY) == b"optimized":
            self.scan.variants = ("optimized",)

    def quickly(self, body: bytes) -> bool:
        """Nothing is read without parsing."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_error(self.scan, document)
        self._name(document)
        counted = self.scan.usage
        self._body(document)
        if counted is not None and self.scan.usage is not None:
            self.scan.usage = self._as_billed(counted, self.scan.usage)
        pictures = document.get("images") or document.get("artifacts")
        if isinstance(pictures, list) and pictures and self._asks_for_pictures():
            usage = self.scan.usage or Usage()
            self.scan.usage = replace(usage, images=len(pictures))
        if isinstance(document.get("results"), list) and "query" in self._request:
            documents = self._request.get("documents")
            count = len(documents) if isinstance(documents, list) else 1
            usage = self.scan.usage or Usage()
            self.scan.usage = replace(usage, searches=max(1, -(-count // 100)))

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        note_error(self.scan, document)
        if document.get("type") in ("message_start", "message_delta", "message_stop"):
            self._claude.event(kind, document)
            self._take_claude()
        else:
            self._body(document)
        if any(document.get(name) for name in _ENDS) or document.get("type") == "message_stop":
            self.scan.finished = True
        choices = document.get("choices")
        if isinstance(choices, list) and any(
            isinstance(c, dict) and c.get("finish_reason") for c in choices
        ):
            self.scan.finished = True
        metrics = document.get(METRICS)
        reading = read_metrics(metrics) if isinstance(metrics, dict) else None
        if reading is not None:
            before = self.scan.usage
            self.scan.usage = self._as_billed(reading.usage, before or reading.usage)
            self.scan.usage_raw = orjson.dumps(metrics)
            self.scan.lacks_output = False
            self.scan.finished = True
            for flag in reading.flags:
                note_flag(self.scan, flag)

    def end(self, kind: str) -> None:
        """Note an exception, or what could not be read."""
        note_end(self.scan, kind)

    def spoken(self, document: Json) -> Texts:
        """The text of the answer, whoever made the model."""
        yield from _said(document, "", 0)

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one event."""
        del kind
        if document.get("type") not in ("message_start", "message_delta"):
            yield from _said(document, "", 0)

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The end of a message, in Claude's format, or of an answer in the others."""
        del frame
        metrics = {"inputTokenCount": 0, "outputTokenCount": output_tokens}
        if "anthropic_version" not in self._request:
            return wrapped({"stop_reason": "length", METRICS: metrics})
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        usage = {"output_tokens": output_tokens}
        return wrapped({"type": "message_delta", "delta": delta, "usage": usage}) + wrapped(
            {"type": "message_stop", METRICS: metrics}
        )

    def _body(self, document: Json) -> None:
        reading = read_body(document, only_1h=asks_only_for_1h(self._request))
        if reading is None:
            inside = document.get("metadata")  # Nova's
            reading = read_body(inside) if isinstance(inside, dict) else None
        if reading is None:
            return
        usage, before = reading.usage, self.scan.usage
        if before is not None and not usage.input_tokens:  # Llama's later events
            usage = replace(before, output=usage.output)
        self.scan.usage = usage
        if isinstance(raw := document.get("usage"), dict):
            self.scan.usage_raw = orjson.dumps(raw)
        for flag in reading.flags:
            note_flag(self.scan, flag)

    def _take_claude(self) -> None:
        scan, claude = self.scan, self._claude.scan
        scan.usage, scan.usage_raw = claude.usage, claude.usage_raw
        scan.lacks_output, scan.upstream_call_id = claude.lacks_output, claude.upstream_call_id
        for flag in claude.flags:
            note_flag(scan, flag)

    def _as_billed(self, counted: Usage, said: Usage) -> Usage:
        """Bedrock's counts, with what only the body says of them.

        What came from the cache, or went there, stands beside the input as Claude and Nova count, and
        is part of it as OpenAI counts.
        """
        if counted.output != said.output_tokens:
            note_flag(self.scan, INCONSISTENT)
        usage = replace(counted, cached_input=counted.cached_input or said.cached_input)
        if counted.input == counted.input_tokens == said.input_tokens:
            usage = replace(usage, input=said.input)
        written = counted.cache_write or said.cache_write_tokens
        hour = min(said.cache_write_1h, written)
        reasoning = min(said.reasoning, counted.output)
        return replace(
            usage,
            cache_write=written - hour,
            cache_write_1h=hour,
            output=counted.output - reasoning,
            reasoning=reasoning,
        )

    def _name(self, document: Json) -> None:
        if isinstance(id_ := document.get("id"), str):
            self.scan.upstream_call_id = id_

    def _asks_for_pictures(self) -> bool:
        return "messages" not in self._request


def _said(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _said(item, f"{place}.{index}", depth + 1)
    elif isinstance(value, dict):
        index = value.get("index", "")
        for name, inside in value.items():
            if isinstance(inside, str):
                if name in _TEXTS and inside:
                    yield f"{place}{index}.{name}", inside
            elif name in _TOOLS:
                yield f"tool{place}", json_text(inside)
            elif name in _HOLDERS:
                yield from _said(inside, f"{place}{index}", depth + 1)
