"""Anthropic's usage object, read into disjoint buckets, and into the parts that are billed apart.

``input_tokens`` is without what was read from or written to the cache. ``iterations`` has an entry for
each time a model was asked: the top level is the sum of those of the answer itself. What compaction,
an advisor or a model that declined used stands only there, and is billed too, each at its own price.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.base import UsagePart
from proxy.gateway.dialects.usage import INCONSISTENT, WRONG_TYPE, Json

# Tokens; anything larger is a mistake, and would not fit the ledger's columns.
_MOST: Final = 10**12
_OF_THE_ANSWER: Final = frozenset(("message", "fallback_message"))


class Reading(NamedTuple):
    """A usage object, understood. ``flags`` say what was odd about it."""

    usage: Usage
    parts: tuple[UsagePart, ...]
    flags: tuple[str, ...]


class _Counts(Struct, frozen=True):
    """The counts of the whole, or of one iteration, as they stand."""

    input: int = 0
    read: int = 0
    written: int = 0
    written_1h: int = 0  # of ``written``
    output: int = 0

    def usage(self) -> Usage:
        return Usage(
            input=self.input,
            cached_input=self.read,
            cache_write=self.written - self.written_1h,
            cache_write_1h=self.written_1h,
            output=self.output,
        )

    def beyond(self, others: Iterable["_Counts"]) -> "_Counts":
        """What is left without these."""
        left = self
        for other in others:
            left = _Counts(
                max(0, left.input - other.input),
                max(0, left.read - other.read),
                max(0, left.written - other.written),
                max(0, left.written_1h - other.written_1h),
                max(0, left.output - other.output),
            )
        return replace(left, written_1h=min(left.written, left.written_1h))


def read(raw: Json, *, only_1h: bool = False) -> Reading:
    """The counts of a usage object. Never raises on any JSON.

    ``only_1h``: the request asked for no other time to live than an hour, which counts where the answer
    does not say for how long something is kept.
    """
    flags: list[str] = []
    whole = _counts(raw, only_1h, flags)
    only_1h = only_1h or (0 < whole.written == whole.written_1h)
    parts = _parts(raw, whole, only_1h, flags) or [UsagePart("", whole.usage())]
    details, tools = raw.get("output_tokens_details"), raw.get("server_tool_use")
    if isinstance(details, dict):
        parts = _with_thinking(parts, _count(details, "thinking_tokens", flags))
    if isinstance(tools, dict) and (searches := _count(tools, "web_search_requests", flags)):
        parts[-1] = UsagePart(
            parts[-1].model, parts[-1].usage + Usage(searches=searches), parts[-1].service_tier
        )
    usage = parts[0].usage if len(parts) == 1 else sum((p.usage for p in parts), EMPTY)
    apart = len(parts) > 1 or parts[0].model
    return Reading(usage, tuple(parts) if apart else (), tuple(dict.fromkeys(flags)))


def _parts(raw: Json, whole: _Counts, only_1h: bool, flags: list[str]) -> list[UsagePart]:
    iterations = raw.get("iterations")
    if not isinstance(iterations, list):
        return []
    entries = [entry for entry in iterations if isinstance(entry, dict)]
    counted = [_counts(entry, only_1h, flags) for entry in entries]
    parts = [
        UsagePart(_model(entry), counts.usage())
        for entry, counts in zip(entries, counted, strict=True)
    ]
    own = [c for e, c in zip(entries, counted, strict=True) if e.get("type") in _OF_THE_ANSWER]
    rest = whole.beyond(own).usage()
    if own and rest != EMPTY:
        flags.append(INCONSISTENT)
    if rest != EMPTY:
        parts.append(UsagePart("", rest))
    return parts


def _with_thinking(parts: list[UsagePart], thinking: int) -> list[UsagePart]:
    """Thinking is part of the output of the answer, from the last of its iterations on."""
    moved = []
    for part in reversed(parts):
        usage = part.usage
        taken = min(thinking, usage.output)
        thinking -= taken
        if taken:
            usage = replace(usage, output=usage.output - taken, reasoning=taken)
        moved.append(UsagePart(part.model, usage, part.service_tier))
    return moved[::-1]


def _counts(raw: Json, only_1h: bool, flags: list[str]) -> _Counts:
    split = raw.get("cache_creation")
    hour = minutes = 0
    if isinstance(split, dict):
        hour = _count(split, "ephemeral_1h_input_tokens", flags)
        minutes = _count(split, "ephemeral_5m_input_tokens", flags)
    written = _count(raw, "cache_creation_input_tokens", flags)
    if written < hour + minutes:
        if raw.get("cache_creation_input_tokens") is not None:
            flags.append(INCONSISTENT)
        written = hour + minutes
    elif only_1h:
        hour = written - minutes
    return _Counts(
        _count(raw, "input_tokens", flags),
        _count(raw, "cache_read_input_tokens", flags),
        written,
        hour,
        _count(raw, "output_tokens", flags),
    )


def _count(raw: Json, name: str, flags: list[str]) -> int:
    value = raw.get(name)
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MOST:
        flags.append(WRONG_TYPE)
        return 0
    return value


def _model(entry: Json) -> str:
    model = entry.get("model")
    return model if isinstance(model, str) else ""
