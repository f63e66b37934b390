"""What Gemini's answers say: generateContent, whole and in chunks; embeddings."""

import re
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.gemini_request import spoken_in
from proxy.gateway.dialects.gemini_usage import read_usage_metadata
from proxy.gateway.dialects.json_object import member
from proxy.gateway.dialects.notes import note_error, note_flag

# Vertex says how a request was paid for, as text or as the number of its enumeration.
_TRAFFIC: Final = {
    "ON_DEMAND": "",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
    "PROVISIONED_THROUGHPUT": "provisioned_throughput",
    1: "",
    2: "provisioned_throughput",
}
_TIER = re.compile(r"[a-z_]{1,40}")
_UNSPECIFIED: Final = frozenset(("FINISH_REASON_UNSPECIFIED", 0, None))


class GeminiAnswer:
    """Reads a whole answer, or its chunks: each has the shape of one."""

    __slots__ = ("_chunked", "_searches", "passed", "scan")

    usage_name = "usageMetadata"
    marks: tuple[bytes, ...] = (
        b'"finishReason"',
        b'"groundingMetadata"',
        b'"blockReason"',
        b'"error"',
    )
    # Each chunk has them; the last one counts.
    last_marks: tuple[bytes, ...] = (
        b'"usageMetadata"',
        b'"promptTokenCount"',
        b'"candidatesTokenCount"',
        b'"totalTokenCount"',
    )

    def __init__(self, variants: tuple[str, ...] = ()) -> None:
        self.scan = Scan(variants=variants)
        self.passed = False  # of an array: a part of the element that is cut is with the client
        self._searches: dict[Any, int] = {}  # by candidate

    def quickly(self, body: bytes) -> bool:
        """Nothing is read without parsing."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        self.event("", document)

    def event(self, kind: str, document: Json) -> None:
        """Note what one chunk says: of its usage, the last one counts."""
        del kind
        scan = self.scan
        if isinstance(model := document.get("modelVersion"), str) and model:
            scan.served_model = model.rpartition("/")[2]
        if isinstance(id_ := document.get("responseId"), str) and id_:
            scan.upstream_call_id = id_
        note_error(scan, document)
        self._candidates(document)
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):
            self._usage(usage)
        elif scan.usage is not None and self._searches:
            self._with_searches()

    def end(self, kind: str) -> None:
        """Nothing but objects comes."""

    def spoken(self, document: Json) -> Texts:
        """The text of all candidates."""
        candidates = document.get("candidates")
        for position, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            content = candidate.get("content") if isinstance(candidate, dict) else None
            parts = content.get("parts") if isinstance(content, dict) else None
            index = candidate.get("index", position) if isinstance(candidate, dict) else position
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict):
                    for what, text in spoken_in(part):
                        yield f"{index}.{what}", text

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one chunk."""
        del kind
        return self.spoken(document)

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """A last chunk, as server-sent event or as element of the array, that says why it ends."""
        chunk: dict[str, Any] = {"candidates": [{"index": 0, "finishReason": "MAX_TOKENS"}]}
        chunk["usageMetadata"] = {"candidatesTokenCount": output_tokens}
        if self.scan.served_model:
            chunk["modelVersion"] = self.scan.served_model
        if self.scan.upstream_call_id:
            chunk["responseId"] = self.scan.upstream_call_id
        text = orjson.dumps(chunk)
        if frame.lstrip().startswith(b"data:"):
            return b"data: " + text + b"\r\n\r\n"
        first = frame.startswith(b"[") and not self.passed
        return (b"[" if first else b",\r\n") + text + b"\n]"

    def _candidates(self, document: Json) -> None:
        scan = self.scan
        feedback = document.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            scan.finished = True
        candidates = document.get("candidates")
        for position, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if not isinstance(candidate, dict):
                continue
            reason = candidate.get("finishReason")
            if isinstance(reason, str | int) and reason not in _UNSPECIFIED:
                scan.finished = True
            grounding = candidate.get("groundingMetadata")
            queries = grounding.get("webSearchQueries") if isinstance(grounding, dict) else None
            if isinstance(queries, list) and queries:
                # Google searches for each of them, and bills those that say something.
                asked = sum(1 for query in queries if query)
                self._searches[str(candidate.get("index", position))] = asked

    def _usage(self, raw: Json) -> None:
        reading = read_usage_metadata(raw)
        if reading is None:
            return
        scan = self.scan
        scan.usage = reading.usage
        scan.usage_raw = orjson.dumps(raw)
        scan.lacks_input = not reading.usage.input_tokens  # it was seen so, with a file's address
        for flag in reading.flags:
            note_flag(scan, flag)
        tier = member(raw, "serviceTier", "service_tier")
        if isinstance(tier, str) and _TIER.fullmatch(tier.lower()):
            scan.service_tier = tier.lower()
        traffic = raw.get("trafficType")
        if isinstance(traffic, str | int) and (paid := _TRAFFIC.get(traffic)):
            scan.service_tier = paid
        if self._searches:
            self._with_searches()

    def _with_searches(self) -> None:
        if self.scan.usage is not None:
            searches = sum(self._searches.values())
            self.scan.usage = replace(self.scan.usage, searches=searches)
