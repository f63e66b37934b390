"""Gemini's usageMetadata, and that of its interactions, read into disjoint buckets.

What an answer says is not trusted: see usage.py. Nothing here raises.
"""

from typing import Any, Final

from msgspec.structs import replace

from proxy.core.usage import Usage
from proxy.gateway.dialects.usage import CACHED_OVER_INPUT, INCONSISTENT, WRONG_TYPE, Reading

Json = dict[str, Any]
_MOST = 10**12

# As text, and as the numbers of the enumeration (``enum-encoding=int``).
_AUDIO: Final = frozenset(("AUDIO", "audio", 4))
_IMAGE: Final = frozenset(("IMAGE", "image", 2))


class _Counts:
    """Figures of one usage object. ``flags`` say what was odd."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.flags: list[str] = []

    def of(self, *names: str) -> int:
        """The first of these counts that is over zero."""
        for name in names:
            value = self._number(self.raw.get(name))
            if value:
                return value
        return 0

    def modalities(self, count: str, *names: str) -> tuple[int, int]:
        """Audio and image tokens among those that the details list."""
        audio = image = 0
        for name in names:
            details = self.raw.get(name)
            for detail in details if type(details) is list else ():
                if type(detail) is not dict:
                    continue
                modality = detail.get("modality")
                if type(modality) is not str and type(modality) is not int:
                    continue
                if modality in _AUDIO:
                    audio += self._number(detail.get(count))
                elif modality in _IMAGE:
                    image += self._number(detail.get(count))
        return audio, image

    def searches(self, name: str) -> int:
        """How often Google searched, as a list by kind of tool says."""
        kinds = self.raw.get(name)
        return sum(
            self._number(kind.get("count"))
            for kind in (kinds if type(kinds) is list else ())
            if type(kind) is dict and kind.get("type") == "google_search"
        )

    def at_most(self, count: int, limit: int, flag: str = INCONSISTENT) -> int:
        """The count, cut to what there is."""
        if count <= limit:
            return count
        self.flag(flag)
        return max(limit, 0)

    def flag(self, flag: str) -> None:
        """Note what is odd, once."""
        if flag not in self.flags:
            self.flags.append(flag)

    def _number(self, value: object) -> int:
        if value is None:
            return 0
        if type(value) is str and value.isascii() and value.isdigit() and len(value) < 13:  # noqa: PLR2004
            value = int(value)  # protobuf's JSON writes 64-bit numbers as text
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value <= _MOST:
            self.flag(WRONG_TYPE)
            return 0
        return value


def read_usage_metadata(raw: Json) -> Reading | None:
    """The usage of generateContent; None where it says nothing.

    The answer's tokens are what the total holds besides the input: the count of the candidates comes
    and goes between the chunks of one stream, and thoughts are not in it.
    """
    counts = _Counts(raw)
    prompt = counts.of("promptTokenCount")
    tools = counts.of("toolUsePromptTokenCount")
    thoughts = counts.of("thoughtsTokenCount")
    parts = counts.of("candidatesTokenCount", "responseTokenCount") + thoughts
    total = counts.of("totalTokenCount")
    if not (prompt or tools or parts or total):
        return None
    output = parts
    if total:
        output = total - prompt - tools
        if output < parts:  # thoughts beside the total, as the Live API counts them
            counts.flag(INCONSISTENT)
            output = parts
    audio, image = counts.modalities("tokenCount", "candidatesTokensDetails")
    return _reading(
        counts,
        _input(
            counts,
            prompt + tools,
            counts.of("cachedContentTokenCount"),
            counts.modalities(
                "tokenCount",
                "promptTokensDetails",
                "promptTokenDetails",
                "toolUsePromptTokensDetails",
            ),
            counts.modalities("tokenCount", "cacheTokensDetails"),
        ),
        (output, thoughts, audio, image),
    )


def read_interaction(raw: Json) -> Reading | None:
    """The usage of an interaction; None where it says nothing."""
    counts = _Counts(raw)
    prompt = counts.of("total_input_tokens")
    tools = counts.of("total_tool_use_tokens")
    thoughts = counts.of("total_thought_tokens", "total_reasoning_tokens")
    parts = counts.of("total_output_tokens") + thoughts
    total = counts.of("total_tokens")
    if not (prompt or tools or parts or total):
        return None
    output = parts
    if total:
        output = total - prompt - tools
        if output != parts:
            counts.flag(INCONSISTENT)
            output = max(output, parts)
    audio, image = counts.modalities("tokens", "output_tokens_by_modality")
    reading = _reading(
        counts,
        _input(
            counts,
            prompt + tools,
            counts.of("total_cached_tokens"),
            counts.modalities("tokens", "input_tokens_by_modality", "tool_use_tokens_by_modality"),
            counts.modalities("tokens", "cached_tokens_by_modality"),
        ),
        (output, thoughts, audio, image),
    )
    searches = counts.searches("grounding_tool_count")
    return replace(reading, usage=replace(reading.usage, searches=searches))


def _input(
    counts: _Counts,
    total: int,
    cached: int,
    media: tuple[int, int],
    cached_media: tuple[int, int],
) -> dict[str, int]:
    cached = counts.at_most(cached, total, CACHED_OVER_INPUT)
    audio = counts.at_most(media[0], total)
    image = counts.at_most(media[1], total - audio)
    text = total - audio - image
    cached_audio = counts.at_most(cached_media[0], min(audio, cached))
    cached_image = counts.at_most(cached_media[1], min(image, cached - cached_audio))
    # What the text can't hold of it was something else.
    missing = max(0, cached - cached_audio - cached_image - text)
    more_image = min(missing, image - cached_image)
    cached_image += more_image
    cached_audio += missing - more_image
    cached_text = cached - cached_audio - cached_image
    return {
        "input": text - cached_text,
        "cached_input": cached_text,
        "audio_input": audio - cached_audio,
        "cached_audio_input": cached_audio,
        "image_input": image - cached_image,
        "cached_image_input": cached_image,
    }


def _reading(counts: _Counts, of_input: dict[str, int], out: tuple[int, int, int, int]) -> Reading:
    total, thoughts, audio, image = out
    reasoning = counts.at_most(thoughts, total)
    audio = counts.at_most(audio, total - reasoning)
    image = counts.at_most(image, total - reasoning - audio)
    usage = Usage(
        **of_input,
        output=total - reasoning - audio - image,
        reasoning=reasoning,
        audio_output=audio,
        image_output=image,
    )
    return Reading(usage, tuple(counts.flags))
