"""The end of a stream that was cut at its cap, in the stream's own style."""

import json
from typing import Any, Final

import orjson

from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.sse import payload
from proxy.gateway.dialects.usage import Json

_KEPT: Final = frozenset(
    {"created", "id", "model", "object", "provider", "service_tier", "system_fingerprint"}
)


def ending(event: bytes, choices: int, usage: Json | None) -> bytes:
    """A chunk with ``finish_reason: length`` for each choice, the usage chunk if any, and ``[DONE]``.

    ``event`` is one of the stream: names, order, spacing and line ends are taken from it.
    """
    sample = parse(payload(event)) or {}
    style = _Style(event)
    out = [style.event(_chunk(sample, [_choice(sample, i)], usage)) for i in range(choices)]
    if usage is not None:
        out.append(style.event({**_chunk(sample, [], usage), "usage": usage}))
    out.append(style.line(b"[DONE]"))
    return b"".join(out)


def _chunk(sample: Json, choices: list[Json], usage: Json | None) -> Json:
    chunk: Json = {name: sample[name] for name in sample if name in _KEPT or name == "choices"}
    chunk["choices"] = choices
    if usage is not None and "usage" in sample:
        chunk["usage"] = None
    return chunk


def _choice(sample: Json, index: int) -> Json:
    choices = sample.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and "delta" not in first and "text" in first:  # a completion
        return {"text": "", "index": index, "logprobs": None, "finish_reason": "length"}
    choice: Json = {"index": index, "delta": {}, "finish_reason": "length"}
    if isinstance(first, dict) and "logprobs" in first:
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}
    return choice


class _Style:
    """How the stream writes its events."""

    def __init__(self, event: bytes) -> None:
        self._line_end = b"\r\n" if b"\r\n" in event else b"\r" if b"\r" in event else b"\n"
        self._field = b"data: " if b"data: " in event else b"data:"
        self._spaced = b'": ' in event and b'":"' not in event

    def event(self, chunk: Any) -> bytes:
        """One event that carries the chunk."""
        if self._spaced:
            return self.line(json.dumps(chunk, ensure_ascii=False).encode("utf-8", "replace"))
        return self.line(orjson.dumps(chunk))

    def line(self, data: bytes) -> bytes:
        """One event of one line."""
        return self._field + data + self._line_end * 2
