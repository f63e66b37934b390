"""Embeddings: deterministic vectors of length one, as numbers or base64."""

import base64
import math
from array import array
from collections.abc import Sequence
from random import Random
from typing import Any, Final
from zlib import crc32

import orjson

from proxy.simulator import errors, language
from proxy.simulator.catalogue import Model

_MOST_DIMENSIONS: Final = 1536


def embed(parsed: dict[str, Any], model: Model) -> tuple[bytes, int]:
    """The answer's body, and the prompt tokens that it bills. Raises Problem."""
    inputs = _inputs(parsed)
    dimensions = _dimensions(parsed)
    encoding = parsed.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise errors.invalid(f"{encoding!r} is not one of ['float', 'base64'] - 'encoding_format'")
    vectors = [_vector(crc32(orjson.dumps(text)), dimensions) for text in inputs]
    tokens = sum(_tokens(text) for text in inputs)
    body = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": list(vector)
                if encoding == "float"
                else base64.b64encode(vector.tobytes()).decode(),
            }
            for index, vector in enumerate(vectors)
        ],
        "model": model.served,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), tokens


def _inputs(parsed: dict[str, Any]) -> Sequence[str | list[int]]:
    given = parsed.get("input")
    if given is None:
        raise errors.missing("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise errors.wrong_type("input", "a string or an array", given)
    if all(isinstance(token, int) for token in given):
        return [given]
    for number, item in enumerate(given):
        if not isinstance(item, str | list):
            raise errors.wrong_type(f"input[{number}]", "a string or an array of tokens", item)
    return given


def _dimensions(parsed: dict[str, Any]) -> int:
    wanted = parsed.get("dimensions")
    if wanted is None:
        return _MOST_DIMENSIONS
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise errors.wrong_type("dimensions", "an integer", wanted)
    if wanted < 1:
        raise errors.invalid(f"{wanted} is less than the minimum of 1 - 'dimensions'")
    return min(wanted, _MOST_DIMENSIONS)


def _vector(seed: int, dimensions: int) -> "array[float]":
    random = Random(seed).random
    values = [random() - 0.5 for _ in range(dimensions)]
    length = math.sqrt(math.fsum(value * value for value in values))
    return array("f", [value / length for value in values])


def _tokens(text: str | list[int]) -> int:
    return language.count(text) if isinstance(text, str) else len(text)
