"""The usage that Bedrock reports: of Converse, in headers, in a stream's metrics, and in models' own bodies."""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.usage import Usage
from proxy.gateway.dialects import anthropic_usage
from proxy.gateway.dialects.base import Headers
from proxy.gateway.dialects.usage import INCONSISTENT, WRONG_TYPE, Reading, read_usage

Json = dict[str, Any]
METRICS: Final = "amazon-bedrock-invocationMetrics"

_MOST: Final = 10**12
_HOUR: Final = "1h"
_PREFIX: Final = b"x-amzn-bedrock-"
_INPUT, _OUTPUT = b"input-token-count", b"output-token-count"
_READ, _WRITTEN = b"cache-read-input-token-count", b"cache-write-input-token-count"


def read_converse(raw: Json) -> Reading | None:
    """The usage of Converse; None where it says nothing. What was cached is beside the input."""
    flags: list[str] = []
    tokens = _tokens(
        raw,
        ("inputTokens",),
        ("outputTokens",),
        ("cacheReadInputTokens", "cacheReadInputTokenCount"),
        ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        flags,
    )
    if tokens is None:
        return None
    hour = 0
    details = raw.get("cacheDetails")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("ttl") == _HOUR:
            hour += _count(detail, ("inputTokens",), flags)
    if hour > tokens.cache_write:
        flags.append(INCONSISTENT)
        hour = tokens.cache_write
    total = raw.get("totalTokens")
    if type(total) is int and total != tokens.input_tokens + tokens.output_tokens:
        flags.append(INCONSISTENT)
    return Reading(_with_hour(tokens, hour), tuple(dict.fromkeys(flags)))


def read_metrics(raw: Json) -> Reading | None:
    """The metrics at the end of a stream of InvokeModel; None where they say nothing."""
    flags: list[str] = []
    tokens = _tokens(
        raw,
        ("inputTokenCount",),
        ("outputTokenCount",),
        ("cacheReadInputTokenCount",),
        ("cacheWriteInputTokenCount",),
        flags,
    )
    return None if tokens is None else Reading(tokens, tuple(dict.fromkeys(flags)))


def read_headers(headers: Headers) -> Usage | None:
    """The counts in the head of an answer of InvokeModel; None where there are none."""
    counts = {
        name[len(_PREFIX) :]: int(value)
        for name, value in headers
        if name.startswith(_PREFIX) and value.isdigit() and len(value) < 13  # noqa: PLR2004
    }
    if _INPUT not in counts and _OUTPUT not in counts:
        return None
    return Usage(
        input=counts.get(_INPUT, 0),
        cached_input=counts.get(_READ, 0),
        cache_write=counts.get(_WRITTEN, 0),
        output=counts.get(_OUTPUT, 0),
    )


def read_body(document: Json, *, only_1h: bool = False) -> Reading | None:
    """The usage in a model's own answer, in its maker's words; None where it says nothing."""
    raw = document.get("usage")
    if isinstance(raw, dict):
        if "inputTokens" in raw or "outputTokens" in raw:
            return read_converse(raw)
        if "prompt_tokens" in raw or "completion_tokens" in raw:
            return read_usage(raw)
        if "input_tokens" in raw or "output_tokens" in raw:
            reading = anthropic_usage.read(raw, only_1h=only_1h)
            return Reading(reading.usage, reading.flags)
    flags: list[str] = []
    results = document.get("results")
    written = sum(
        _count(result, ("tokenCount",), flags)
        for result in (results if isinstance(results, list) else ())
        if isinstance(result, dict)
    )
    usage = Usage(
        input=_count(document, ("inputTextTokenCount", "prompt_token_count"), flags),
        output=_count(document, ("totalOutputTextTokenCount", "generation_token_count"), flags)
        or written,
    )
    return Reading(usage, tuple(dict.fromkeys(flags))) if usage != Usage() else None


def _with_hour(tokens: Usage, hour: int) -> Usage:
    if not hour:
        return tokens
    return Usage(
        input=tokens.input,
        cached_input=tokens.cached_input,
        cache_write=tokens.cache_write - hour,
        cache_write_1h=hour,
        output=tokens.output,
    )


def _tokens(
    raw: Json,
    given: tuple[str, ...],
    out: tuple[str, ...],
    read: tuple[str, ...],
    written: tuple[str, ...],
    flags: list[str],
) -> Usage | None:
    usage = Usage(
        input=_count(raw, given, flags),
        cached_input=_count(raw, read, flags),
        cache_write=_count(raw, written, flags),
        output=_count(raw, out, flags),
    )
    return usage if usage != Usage() else None


def _count(raw: Mapping[str, Any], names: tuple[str, ...], flags: list[str]) -> int:
    """The first of these counts that is over zero: some are there twice."""
    for name in names:
        value = raw.get(name)
        if type(value) is float and value.is_integer():
            value = int(value)
        if value is None or value == 0:
            continue
        if type(value) is not int or not 0 <= value <= _MOST:
            flags.append(WRONG_TYPE)
            continue
        return value
    return 0
