"""Recorded exchanges with providers. They are not part of the project: tests skip where they are absent."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest


def exchanges() -> Iterator[dict[str, Any]]:
    """Every recorded exchange; see the README beside the recordings."""
    beside = Path(__file__).parents[2] / "shared" / "exchanges"
    file = Path(os.environ.get("FAREBOX_EXCHANGES", beside)) / "replay.jsonl.gz"
    if not file.exists():
        pytest.skip("no recordings here")
    with gzip.open(file) as lines:
        yield from map(orjson.loads, lines)


def request_document(exchange: dict[str, Any]) -> tuple[dict[str, Any], int] | None:
    """The body of a recorded request, parsed, and its size in bytes; None where it is no JSON object."""
    text = exchange.get("request_text")
    parsed = exchange.get("request_json")
    if parsed is None and text:
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
    if not isinstance(parsed, dict):
        return None
    return parsed, len(text.encode()) if text else len(orjson.dumps(parsed))


def input_tokens(exchange: dict[str, Any]) -> int:
    """All input that the answer reports, in whichever of the providers' ways; 0 where it reports none."""
    return max((_reported(usage) for _, usage in exchange["usage"]), default=0)


def _reported(usage: Any) -> int:
    if not isinstance(usage, dict):
        return 0
    if isinstance(usage.get("billed_units"), dict):  # Cohere: its template is not billed
        usage = usage["billed_units"]
    keys = (
        ("promptTokenCount", "toolUsePromptTokenCount"),
        ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        ("prompt_tokens",),
        ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    )
    reported = next((group for group in keys if group[0] in usage), ())
    return sum(int(usage.get(key) or 0) for key in reported)
