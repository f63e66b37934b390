"""What answers of Ollama's own API say: one document, or one a line, of which the last has the counts."""

from typing import Any, Final

import orjson

from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.json_text import json_text
from proxy.gateway.dialects.notes import note_error, note_flag, note_names, parse
from proxy.gateway.dialects.usage import WRONG_TYPE

INPUT_COUNTED: Final = "input_counted"  # the answer did not say how much it read; we counted that
OUTPUT_COUNTED: Final = "output_counted"

_MOST: Final = 10**12
_NOTHING_SAID: Final = frozenset(("load", "unload"))  # a model was only loaded, or put away
_COUNTS: Final = ("total_duration", "load_duration", "prompt_eval_count", "eval_count")


class OllamaReader:
    """Reads an answer of chat, generate or embed."""

    __slots__ = ("_makes_text", "scan")

    usage_name = "prompt_eval_count"
    marks: tuple[bytes, ...] = (b'"done":true', b'"done": true', b'"error"', b'"eval_count"')

    def __init__(self, *, makes_text: bool) -> None:
        self.scan = Scan()
        self._makes_text = makes_text

    def quickly(self, body: bytes) -> bool:
        """Nothing is known of a document without parsing it."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        self.event("", document)

    def event(self, kind: str, document: Json) -> None:
        """Note what one line says."""
        del kind
        scan = self.scan
        note_names(scan, document)
        if note_error(scan, document):
            return
        if document.get("done") is True:
            scan.finished = True
        elif self._makes_text or "prompt_eval_count" not in document:
            return
        self._take(document)

    def end(self, kind: str) -> None:
        """Nothing ends so here."""

    def said(self, kind: str, document: Json) -> Texts:
        """The output's text in one line."""
        del kind
        return self.spoken(document)

    def spoken(self, document: Json) -> Texts:
        """The output's text."""
        message = document.get("message")
        part = message if isinstance(message, dict) else document
        for name in ("content", "response", "thinking"):
            text = part.get(name)
            if isinstance(text, str) and text:
                yield name, text
        calls = part.get("tool_calls")
        for index, call in enumerate(calls if isinstance(calls, list) else ()):
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                yield f"tool.{index}", json_text(function)

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The last line, as of an answer at its limit."""
        crossing: Json = parse(frame.strip()) or {}
        last: Json = {name: crossing[name] for name in ("model", "created_at") if name in crossing}
        if "message" in crossing:
            last["message"] = {"role": "assistant", "content": ""}
        else:
            last["response"] = ""
        last |= {"done": True, "done_reason": "length", "eval_count": output_tokens}
        return orjson.dumps(last) + b"\n"

    def _take(self, document: Json) -> None:
        scan = self.scan
        read, made = self._count(document, "prompt_eval_count"), self._count(document, "eval_count")
        scan.usage = Usage(input=read or 0, output=made or 0)
        scan.usage_raw = orjson.dumps({n: document[n] for n in _COUNTS if n in document})
        if document.get("done_reason") in _NOTHING_SAID and not read and not made:
            scan.usage = EMPTY
            return
        if not read:
            # Not there where all of it was cached, in older versions.
            scan.lacks_input = True
            note_flag(scan, INPUT_COUNTED)
        if made is None and self._makes_text:
            scan.lacks_output = True
            note_flag(scan, OUTPUT_COUNTED)

    def _count(self, document: Json, name: str) -> int | None:
        value: Any = document.get(name)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value <= _MOST:
            note_flag(self.scan, WRONG_TYPE)
            return None
        return int(value)
