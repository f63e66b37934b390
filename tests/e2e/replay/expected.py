"""What a recorded answer's own usage comes to, by the rules of each API: an oracle of its own.

Written from what providers document and report, and sharing nothing with the code that it judges.
"""

from typing import Any, NamedTuple

from tests.e2e.replay.place import Exchange, Place

Json = dict[str, Any]


class Counts(NamedTuple):
    """Totals as a row shows them: what is cached and written is inside the input, reasoning inside the output."""

    input: int
    cached: int
    written: int
    output: int
    reasoning: int


def expected(exchange: Exchange, place: Place) -> Counts | None:
    """The counts that the answer reports; None where it reports none."""
    if exchange["status"] >= 300:
        return None
    rule = _RULES.get(place.dialect, _openai)
    return rule(exchange, place)


def _usages(exchange: Exchange, *ends: str) -> list[Json]:
    """The usage objects at paths with these ends that say any number over zero, in order."""
    found = [u for path, u in exchange["usage"] if path.endswith(ends) and isinstance(u, dict)]
    return [u for u in found if _says_something(u)]


def _says_something(usage: Json) -> bool:
    return any(
        (isinstance(v, int | float) and not isinstance(v, bool) and v > 0)
        or (isinstance(v, dict) and k in ("billed_units", "tokens") and _says_something(v))
        for k, v in usage.items()
    )


def _get(usage: Json, *names: str) -> int:
    value: Any = usage
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return int(value) if isinstance(value, int | float) else 0


def _first(*counts: int) -> int:
    return next((count for count in counts if count), 0)


def _openai(exchange: Exchange, place: Place) -> Counts | None:
    del place
    usages = _usages(exchange, ".usage")
    if not usages:
        return None
    usage = usages[-1]
    if usage.get("type") == "duration":
        return Counts(0, 0, 0, 0, 0)
    if "input_tokens" in usage or "output_tokens" in usage:
        inner, outer = "input_tokens_details", "output_tokens_details"
        total_in, total_out = _get(usage, "input_tokens"), _get(usage, "output_tokens")
    else:
        inner, outer = "prompt_tokens_details", "completion_tokens_details"
        total_in, total_out = _get(usage, "prompt_tokens"), _get(usage, "completion_tokens")
    cached = _first(
        _get(usage, inner, "cached_tokens"),
        _get(usage, "prompt_cache_hit_tokens"),
        _get(usage, "cached_tokens"),
        _get(usage, "num_cached_tokens"),
        _get(usage, "cache_read_input_tokens"),
    )
    written = _first(
        _get(usage, inner, "cache_write_tokens"),
        _get(usage, inner, "cache_creation_input_tokens"),
        _get(usage, "cache_creation_input_tokens"),
    )
    reasoning = _first(_get(usage, outer, "reasoning_tokens"), _get(usage, "reasoning_tokens"))
    rest = _get(usage, "total_tokens") - total_in - total_out
    if rest > 0:
        total_in, total_out, reasoning = _what_is_beside(
            exchange, usage, (total_in, total_out, reasoning), rest
        )
    return Counts(total_in, min(cached, total_in), written, total_out, min(reasoning, total_out))


def _what_is_beside(
    exchange: Exchange, usage: Json, counts: tuple[int, int, int], rest: int
) -> tuple[int, int, int]:
    """Some count a part beside the rest, and only in the total."""
    total_in, total_out, reasoning = counts
    audio = _get(usage, "prompt_tokens_details", "audio_tokens")
    cache = _get(usage, "cache_read_input_tokens") + _get(usage, "cache_creation_input_tokens")
    if rest == reasoning:  # xAI
        return total_in, total_out + reasoning, reasoning
    if rest in (audio, cache):  # Mistral's audio, Databricks' cache
        return total_in + rest, total_out, reasoning
    if not total_in and not total_out:  # only a total: all of it went in
        return rest, 0, 0
    del exchange
    return total_in, total_out + rest, reasoning + rest  # Gemini's thoughts


def _anthropic(exchange: Exchange, place: Place) -> Counts | None:
    del place
    merged: Json = {}
    for usage in _usages(exchange, "$.usage", "message.usage"):
        merged |= {key: value for key, value in usage.items() if value is not None}
    if not merged:
        return None
    steps = merged.get("iterations") or [merged]  # each is billed, at its own model's price
    return Counts(*map(sum, zip(*map(_anthropic_counts, steps), strict=True)))


def _anthropic_counts(usage: Json) -> Counts:
    read, created = (
        _get(usage, "cache_read_input_tokens"),
        _get(usage, "cache_creation_input_tokens"),
    )
    thinking = _get(usage, "output_tokens_details", "thinking_tokens")
    output = _get(usage, "output_tokens")
    return Counts(
        _get(usage, "input_tokens") + read + created, read, created, output, min(thinking, output)
    )


def _gemini(exchange: Exchange, place: Place) -> Counts | None:
    if "interactions" in place.path:
        return _interactions(exchange)
    if place.path.endswith(("cachedContents", ":download")):
        return None
    usages = [u for u in _usages(exchange, "usageMetadata") if "promptTokenCount" in u]
    if not usages:
        return None
    usage = usages[-1]
    total_in = _get(usage, "promptTokenCount") + _get(usage, "toolUsePromptTokenCount")
    thoughts = _get(usage, "thoughtsTokenCount")
    said = _get(usage, "candidatesTokenCount") + thoughts
    total = _get(usage, "totalTokenCount")
    return Counts(
        total_in,
        _get(usage, "cachedContentTokenCount"),
        0,
        max(total - total_in, 0) if total else said,
        thoughts,
    )


def _interactions(exchange: Exchange) -> Counts | None:
    usages = _usages(exchange, ".usage")
    if not usages:
        return None
    usage = usages[-1]
    thoughts = _get(usage, "total_thought_tokens")
    return Counts(
        _get(usage, "total_input_tokens") + _get(usage, "total_tool_use_tokens"),
        _get(usage, "total_cached_tokens"),
        0,
        _get(usage, "total_output_tokens") + thoughts,
        thoughts,
    )


def _bedrock(exchange: Exchange, place: Place) -> Counts | None:
    if "/invoke" in place.path:
        return _invoke(exchange)
    usages = _usages(exchange, ".usage")
    if not usages:
        return None
    usage = usages[-1]
    read, written = _get(usage, "cacheReadInputTokens"), _get(usage, "cacheWriteInputTokens")
    return Counts(
        _get(usage, "inputTokens") + read + written, read, written, _get(usage, "outputTokens"), 0
    )


def _invoke(exchange: Exchange) -> Counts | None:
    headers = {k.lower(): v for k, v in _headers(exchange)}
    name = "x-amzn-bedrock-{}-token-count"
    read = int(headers.get(name.format("cache-read-input"), 0))
    written = int(headers.get(name.format("cache-write-input"), 0))
    if name.format("input") in headers:
        plain = int(headers[name.format("input")])
        output = int(headers.get(name.format("output"), 0))
        return Counts(plain + read + written, read, written, output, 0)
    metrics = _usages(exchange, "amazon-bedrock-invocationMetrics")
    if metrics:
        usage = metrics[-1]
        read, written = (
            _get(usage, "cacheReadInputTokenCount"),
            _get(usage, "cacheWriteInputTokenCount"),
        )
        plain = _get(usage, "inputTokenCount")
        return Counts(plain + read + written, read, written, _get(usage, "outputTokenCount"), 0)
    titan = [u for u in _usages(exchange, "$") if "inputTextTokenCount" in u]
    if titan:
        output = _get(titan[-1], "totalOutputTextTokenCount")
        return Counts(_get(titan[-1], "inputTextTokenCount"), 0, 0, output, 0)
    usages = _usages(exchange, "usage")
    if usages and "input_tokens" in usages[-1]:
        return _anthropic_counts(usages[-1])
    return None


def _headers(exchange: Exchange) -> list[tuple[str, str]]:
    headers = exchange["response_headers"] or {}
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(k, v[-1] if isinstance(v, list) else str(v)) for k, v in pairs]


def _cohere(exchange: Exchange, place: Place) -> Counts | None:
    del place
    billed = [
        u["billed_units"]
        for _, u in exchange["usage"]
        if isinstance(u, dict) and isinstance(u.get("billed_units"), dict)
    ]
    if not billed:
        return None
    units = billed[-1]
    total_in = _get(units, "input_tokens") + _get(units, "image_tokens")
    return Counts(total_in, 0, 0, _get(units, "output_tokens"), 0)


def _ollama(exchange: Exchange, place: Place) -> Counts | None:
    del place
    usages = _usages(exchange, "$")
    if not usages or "prompt_eval_count" not in usages[-1]:
        return None
    usage = usages[-1]
    return Counts(_get(usage, "prompt_eval_count"), 0, 0, _get(usage, "eval_count"), 0)


_RULES = {
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "ollama": _ollama,
}
