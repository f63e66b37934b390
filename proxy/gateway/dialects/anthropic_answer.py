"""What an answer of Anthropic's messages says, streamed or not."""

from typing import Any, Final

import orjson

from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.anthropic_request import asks_only_for_1h
from proxy.gateway.dialects.anthropic_usage import read
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.json_text import json_text
from proxy.gateway.dialects.notes import note_error, note_flag, note_names, note_tier, parse
from proxy.gateway.dialects.sse import payload

_PLAIN_PLACES: Final = frozenset(("global", "not_available", ""))
_INPUTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
# What a delta holds, and the run that it is part of.
_DELTAS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("partial_json", "tool"),
    "compaction_delta": ("content", "compaction"),
}
_BLOCKS: Final = {"text": "text", "thinking": "thinking", "compaction": "content"}
_TOOL_CALLS: Final = frozenset(("tool_use", "server_tool_use", "mcp_tool_use"))


class MessageReader:
    """Reads one message: as a document, or from its events.

    The usage of ``message_start`` has all input and a placeholder for the output; each
    ``message_delta`` overwrites the counts that it names.
    """

    __slots__ = ("_raw", "_request", "scan")

    usage_name = "usage"
    marks: tuple[bytes, ...] = (b'"usage"', b'"message_stop"', b'"error"', b'"message_start"')

    def __init__(self, request: Json) -> None:
        self.scan = Scan()
        self._request = request  # as it was asked, for what the answer leaves open
        self._raw: Json = {}

    def quickly(self, body: bytes) -> bool:
        """Nothing is known of a document without parsing it."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        note_error(self.scan, document)
        self._take(document.get("usage"))

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        scan = self.scan
        match document.get("type") or kind:
            case "message_start":
                message = document.get("message")
                scan.lacks_output = True
                if isinstance(message, dict):
                    note_names(scan, message)
                    self._take(message.get("usage"))
            case "message_delta":
                usage = document.get("usage")
                if isinstance(usage, dict) and type(usage.get("output_tokens")) is int:
                    scan.lacks_output = False
                self._take(usage)
            case "message_stop":
                scan.finished = True
            case _:
                note_error(scan, document)

    def end(self, kind: str) -> None:
        """Nothing ends so here."""

    def said(self, kind: str, document: Json) -> Texts:
        """The output's text in one event."""
        del kind
        delta = document.get("delta")
        if document.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return
        name, place = _DELTAS.get(str(delta.get("type")), ("", ""))
        text = delta.get(name)
        if isinstance(text, str):
            yield f"{place}.{document.get('index')}", text

    def spoken(self, document: Json) -> Texts:
        """The text of all blocks."""
        content = document.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(block, dict):
                continue
            kind = block.get("type")
            text = block.get(_BLOCKS.get(str(kind), ""))
            if isinstance(text, str):
                yield f"{kind}.{index}", text
            elif kind in _TOOL_CALLS:
                yield f"tool.{index}", json_text(block.get("input"))

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The block's end, and the message's: stopped at its limit."""
        crossing: Json = parse(payload(frame)) or {}
        index = crossing.get("index", 0)
        usage: Json = {name: self._raw[name] for name in _INPUTS if name in self._raw}
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        counted: Json = usage | {"output_tokens": output_tokens}
        events: tuple[Json, ...] = (
            {"type": "content_block_stop", "index": index},
            {"type": "message_delta", "delta": delta, "usage": counted},
            {"type": "message_stop"},
        )
        ended = b"".join(
            b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), orjson.dumps(event))
            for event in events
        )
        return ended.replace(b"\n", b"\r\n") if b"\r\n" in frame else ended

    def _take(self, usage: Any) -> None:
        """Take a usage object over what came before, name by name."""
        if not isinstance(usage, dict):
            return
        self._raw.update({name: value for name, value in usage.items() if value is not None})
        raw, scan = self._raw, self.scan
        written = raw.get("cache_creation_input_tokens")
        only_1h = bool(written) and asks_only_for_1h(self._request)
        scan.usage, scan.parts, flags = read(raw, only_1h=only_1h)
        scan.usage_raw = orjson.dumps(raw)
        # Ollama's start says nothing of the input. Where nothing came out, nothing may have gone in.
        said = scan.lacks_output or scan.usage.output_tokens
        scan.lacks_input = bool(said) and not scan.usage.input_tokens
        for flag in flags:
            note_flag(scan, flag)
        note_tier(scan, raw)
        speed, place = raw.get("speed"), raw.get("inference_geo")
        fast = ("fast",) if speed == "fast" else ()
        elsewhere = (place,) if isinstance(place, str) and place not in _PLAIN_PLACES else ()
        scan.variants = (*fast, *elsewhere)
