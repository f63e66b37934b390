"""What answers of Cohere's API say. Billed are ``billed_units``: ``tokens`` has its templates too."""

from typing import Any, Final

import orjson

from proxy.core.usage import Usage
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.json_text import json_text
from proxy.gateway.dialects.notes import note_error, note_flag, note_names, note_usage, parse
from proxy.gateway.dialects.sse import payload
from proxy.gateway.dialects.usage import WRONG_TYPE

NOT_IN_BILLED_UNITS: Final = (
    "billed_units_missing"  # taken from ``tokens``, where nothing else is said
)

_MOST: Final = 10**12
_UNITS: Final = {
    "input_tokens": "input",
    "output_tokens": "output",
    "image_tokens": "image_input",
    "images": "images",
    "search_units": "searches",
}


class CohereReader:
    """Reads a document, the events of v2, and the lines of v1."""

    __slots__ = ("scan", "usage_name")

    marks: tuple[bytes, ...] = (
        b'"message-start"',
        b'"message-end"',
        b'"stream-start"',
        b'"stream-end"',
        b'"is_finished":true',
        b'"error"',
    )

    def __init__(self, usage_name: str) -> None:
        self.scan = Scan()
        self.usage_name = usage_name

    def quickly(self, body: bytes) -> bool:
        """Nothing is known of a document without parsing it."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says. Others serve rerank with OpenAI's usage."""
        self._names(document)
        note_error(self.scan, document)
        if not self._take(document.get("usage")) and not self._take(document.get("meta")):
            note_usage(self.scan, document)

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        scan = self.scan
        self._names(document)
        delta, response = document.get("delta"), document.get("response")
        match document.get("type") or document.get("event_type") or kind:
            case "message-end":
                scan.finished = True
                if isinstance(delta, dict):
                    self._take(delta.get("usage"))
                    note_error(scan, delta)
            case "stream-end":
                scan.finished = True
                if isinstance(response, dict):
                    self._names(response)
                    self._take(response.get("meta"))
            case _:
                scan.finished = scan.finished or document.get("is_finished") is True
                note_error(scan, document)

    def end(self, kind: str) -> None:
        """``[DONE]``: ``message-end`` came before."""

    def said(self, kind: str, document: Json) -> Texts:
        """The output's text in one event."""
        del kind
        if isinstance(document.get("text"), str):
            if not document.get("is_finished"):
                yield "text", document["text"]
            return
        if isinstance(call := document.get("tool_call_delta"), dict):
            yield from _strings(call, f"tool.{call.get('index')}", ("name", "parameters", "text"))
            return
        delta = document.get("delta")
        message = delta.get("message") if isinstance(delta, dict) else None
        if isinstance(message, dict):
            yield from _message(message, document.get("index"))

    def spoken(self, document: Json) -> Texts:
        """The output's text, whichever endpoint it is of."""
        message = document.get("message")
        if isinstance(message, dict):
            yield from _message(message, 0)
        elif isinstance(document.get("text"), str):
            yield "text", document["text"]
            calls = document.get("tool_calls")
            for index, call in enumerate(calls if isinstance(calls, list) else ()):
                yield f"tool.{index}", json_text(call)
        generations = document.get("generations")
        for index, made in enumerate(generations if isinstance(generations, list) else ()):
            if isinstance(made, dict) and isinstance(made.get("text"), str):
                yield f"text.{index}", made["text"]

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The end of a content, and of the message, at its limit; of v1, the last line."""
        crossing: Json = parse(payload(frame)) or parse(frame.strip()) or {}
        if "event_type" in crossing:
            return _ending_of_lines(self.scan, frame)
        units = {"output_tokens": output_tokens}
        events: list[Json] = []
        block = str(crossing.get("type")).removesuffix("-delta").removesuffix("-start")
        if block in ("content", "tool-call"):
            events.append({"type": f"{block}-end", "index": crossing.get("index", 0)})
        usage = {"billed_units": units, "tokens": units}
        delta = {"finish_reason": "MAX_TOKENS", "usage": usage}
        events.append({"type": "message-end", "delta": delta})
        ended = [
            b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), orjson.dumps(e)) for e in events
        ]
        ended.append(b"data: [DONE]\n\n")
        out = b"".join(ended)
        return out.replace(b"\n", b"\r\n") if b"\r\n" in frame else out

    def _names(self, document: Json) -> None:
        note_names(self.scan, document)
        made = document.get("generation_id")
        if not self.scan.upstream_call_id and isinstance(made, str):
            self.scan.upstream_call_id = made

    def _take(self, said: Any) -> bool:
        """Take the units of a ``usage`` or ``meta``. False where there are none."""
        if not isinstance(said, dict):
            return False
        units = said.get("billed_units")
        if not isinstance(units, dict):
            units = said.get("tokens")
            if not isinstance(units, dict):
                return False
            note_flag(self.scan, NOT_IN_BILLED_UNITS)
        counts: dict[str, int] = {}
        for name, bucket in _UNITS.items():
            value = units.get(name)
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is int and 0 <= value <= _MOST:
                counts[bucket] = value
            elif value is not None:
                note_flag(self.scan, WRONG_TYPE)
        if "image_input" in counts:
            counts.pop("images", None)  # the same, which is billed once
        self.scan.usage = Usage(**counts)
        self.scan.usage_raw = orjson.dumps(said)
        return True


def _ending_of_lines(scan: Scan, frame: bytes) -> bytes:
    response = {"generation_id": scan.upstream_call_id, "text": "", "finish_reason": "MAX_TOKENS"}
    last = {
        "is_finished": True,
        "event_type": "stream-end",
        "response": response,
        "finish_reason": "MAX_TOKENS",
    }
    if payload(frame):
        return b"event: stream-end\ndata: %b\n\n" % orjson.dumps(last)
    return orjson.dumps(last) + b"\n"


def _message(message: Json, index: object) -> Texts:
    yield from _strings(message, "plan", ("tool_plan",))
    content = message.get("content")
    for position, part in enumerate(content if isinstance(content, list) else [content]):
        if isinstance(part, dict):
            place = f"{index}.{position}"
            yield from _strings(part, f"text.{place}", ("text",))
            yield from _strings(part, f"thinking.{place}", ("thinking",))
    calls = message.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from _strings(function, f"tool.{index}.{position}", ("name", "arguments"))


def _strings(part: Json, place: str, names: tuple[str, ...]) -> Texts:
    for name in names:
        text = part.get(name)
        if isinstance(text, str) and text:
            yield place, text
