"""What an answer of the responses API says, whole or as events."""

import json
from typing import Any, Final

import orjson

from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.chat_answer import note_refusal
from proxy.gateway.dialects.notes import follow_path, note_error, note_names, parse
from proxy.gateway.dialects.responses_usage import note_response
from proxy.gateway.dialects.sse import payload

_TERMINAL: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))
_GOES_ON: Final = frozenset(("queued", "in_progress"))
# Events whose ``delta`` is something that the model wrote.
_WRITTEN: Final = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
        "response.audio_transcript.delta",
    )
)
_TEXTS: Final = ("text", "refusal", "arguments", "input", "name", "code")


class ResponsesAnswer:
    """Reads a response that is one document."""

    __slots__ = ("scan",)

    usage_name = "usage"

    def __init__(self) -> None:
        self.scan = Scan()

    def quickly(self, body: bytes) -> bool:
        """Nothing is usual enough."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        note_refusal(self.scan, document)
        _note_end(self.scan, document)

    def spoken(self, document: Json) -> Texts:
        """The text of all items."""
        return _spoken(document)


class ResponsesEvents:
    """Reads a response that comes in events."""

    __slots__ = ("_begun", "scan")

    # Only events that carry the whole response, or an error, say more than text.
    marks: tuple[bytes, ...] = (b'"response":', b'"error"')

    def __init__(self) -> None:
        self.scan = Scan()
        self._begun: Json = {}  # the response as its first event shows it

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        kind = _kind(kind, document)
        response = document.get("response")
        if isinstance(response, dict):
            self._begun = self._begun or response
            if kind in _TERMINAL and response.get("model"):
                self.scan.served_model = ""  # a router has chosen by now
            note_names(self.scan, response)
            note_error(self.scan, response)
            _note_end(self.scan, response)
            if kind in _TERMINAL:
                self.scan.finished = True
        elif kind == "error":
            self._failed(document)

    def end(self, kind: str) -> None:
        """Some servers end their streams as chats end."""
        if kind == "[DONE]":
            self.scan.finished = True

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one event."""
        kind = _kind(kind, document)
        if kind in _WRITTEN:
            delta = document.get("delta")
            if isinstance(delta, str) and delta:
                yield _place(document), delta
        elif kind == "response.output_item.added":
            item = document.get("item")
            if isinstance(item, dict) and isinstance(name := item.get("name"), str):
                yield f"{_place(document)}.name", name

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """``response.incomplete``, as of a response that reached its own limit."""
        sample = parse(payload(frame)) or {}
        response = {
            **self._begun,
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "usage": {
                "input_tokens": 0,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": output_tokens,
            },
        }
        event: Json = {"type": "response.incomplete", "response": response}
        if isinstance(number := sample.get("sequence_number"), int):
            event["sequence_number"] = number
        return _event(frame, event)

    def _failed(self, document: Json) -> None:
        if not note_error(self.scan, document):
            note_error(self.scan, {"error": document})
        self.scan.finished = True


def _kind(kind: str, document: Json) -> str:
    named = document.get("type")
    return named if isinstance(named, str) else kind


def _place(document: Json) -> str:
    return ".".join(
        str(document.get(name, "")) for name in ("output_index", "content_index", "summary_index")
    )


def _note_end(scan: Scan, response: Json) -> None:
    """Take the usage of a response that is over; note where one that goes on can be asked for."""
    scan.follow = ""
    if response.get("status") not in _GOES_ON:
        note_response(scan, response)
        return
    if response.get("background") is True:
        scan.follow = follow_path(response)


def _spoken(response: Json) -> Texts:
    items = response.get("output")
    if not isinstance(items, list):
        return
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        yield from _texts(item, f"{index}")
        for name in ("content", "summary"):
            parts = item.get(name)
            if isinstance(parts, list):
                for number, part in enumerate(parts):
                    if isinstance(part, dict):
                        yield from _texts(part, f"{index}.{name}.{number}")


def _texts(part: Json, place: str) -> Texts:
    for name in _TEXTS:
        value = part.get(name)
        if isinstance(value, str) and value:
            yield f"{place}.{name}", value


def _event(frame: bytes, event: Any) -> bytes:
    """An event in the style of another."""
    line_end = b"\r\n" if b"\r\n" in frame else b"\n"
    spaced = b'": ' in frame and b'":"' not in frame
    data = json.dumps(event, ensure_ascii=False).encode() if spaced else orjson.dumps(event)
    named = b"event: %b%b" % (event["type"].encode(), line_end) if b"event:" in frame else b""
    return named + b"data: " + data + line_end * 2
