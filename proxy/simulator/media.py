"""Pictures and sound: as many as are asked for, of no content, with the usage that the API reports."""

import re
import struct
from typing import Any, Final, NamedTuple

import orjson

from proxy.simulator import errors, language

_PICTURE: Final = "iVBORw0KGgo="
_TOKENS: Final = {"low": 272, "medium": 1056, "high": 4160}
_NANO_PER_TOKEN_IN, _NANO_PER_TOKEN_OUT = 5_000, 40_000  # gpt-image-1
_NANO_PER_PICTURE: Final = 40_000_000  # dall-e-3, standard, square
_NANO_PER_CHARACTER: Final = 15_000  # tts-1
_NANO_PER_SECOND: Final = 100_000  # whisper-1
_WAV_BYTES_PER_S: Final = 32_000
_FIELD: Final = re.compile(rb'name="([a-z_]+)"\r\n\r\n([^\r]*)\r\n')


class Made(NamedTuple):
    """An answer's body and type, and what it is billed for."""

    body: bytes
    content_type: bytes
    model: str
    cost_nano: int
    prompt_tokens: int = 0
    completion_tokens: int = 0


def draw(parsed: dict[str, Any]) -> Made:
    """Pictures. Raises Problem."""
    prompt, model = parsed.get("prompt"), parsed.get("model") or "dall-e-2"
    if not isinstance(prompt, str):
        raise errors.missing("prompt")
    count = parsed.get("n") or 1
    body: dict[str, Any] = {"created": 1_767_225_600, "data": [{"b64_json": _PICTURE}] * count}
    if not model.startswith("gpt-image"):
        return Made(orjson.dumps(body), b"application/json", model, count * _NANO_PER_PICTURE)
    told, drawn = language.count(prompt), count * _TOKENS[parsed.get("quality") or "high"]
    body["usage"] = {
        "input_tokens": told,
        "input_tokens_details": {"text_tokens": told, "image_tokens": 0},
        "output_tokens": drawn,
        "total_tokens": told + drawn,
    }
    cost = told * _NANO_PER_TOKEN_IN + drawn * _NANO_PER_TOKEN_OUT
    return Made(orjson.dumps(body), b"application/json", model, cost, told, drawn)


def speak(parsed: dict[str, Any]) -> Made:
    """A second of silence for every ten characters. Raises Problem."""
    text = parsed.get("input")
    if not isinstance(text, str):
        raise errors.missing("input")
    cost = len(text) * _NANO_PER_CHARACTER
    return Made(_wav(-(-len(text) // 10)), b"audio/wav", str(parsed.get("model")), cost)


def hear(body: bytes) -> Made:
    """A transcript of a form with a WAV file in it. Raises Problem."""
    fields = {name.decode(): value.decode() for name, value in _FIELD.findall(body)}
    data = body.find(b"WAVE")
    if data < 0 or "model" not in fields:
        raise errors.invalid("Invalid file format.", param="file")
    size = int.from_bytes(body[data + 32 : data + 36], "little")
    seconds = size // _WAV_BYTES_PER_S
    cost, model = seconds * _NANO_PER_SECOND, fields["model"]
    if fields.get("response_format") == "text":
        return Made(b"Simulated words.\n", b"text/plain; charset=utf-8", model, cost)
    answer = {"text": "Simulated words.", "usage": {"type": "duration", "seconds": seconds}}
    return Made(orjson.dumps(answer), b"application/json", model, cost)


def moderate(parsed: dict[str, Any]) -> bytes:
    """Nothing is ever flagged."""
    model = parsed.get("model") or "omni-moderation-latest"
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    return orjson.dumps({"id": "modr-simulated", "model": model, "results": [result]})


def _wav(seconds: int) -> bytes:
    size = seconds * _WAV_BYTES_PER_S
    form = struct.pack("<HHIIHH", 1, 1, 16_000, _WAV_BYTES_PER_S, 2, 16)
    head = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt \x10\0\0\0" + form
    return head + b"data" + struct.pack("<I", size) + bytes(size)
