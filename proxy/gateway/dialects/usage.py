"""The usage object of OpenAI's chat format, as twenty providers fill it, read into disjoint buckets.

What an answer says is not trusted: a count of the wrong type is left out, one that can't be is cut
to what can, and both are flagged. Nothing here raises.
"""

from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from proxy.core.usage import Usage

WRONG_TYPE: Final = "usage_wrong_type"  # a count that is no whole number ≥ 0, taken as absent
INCONSISTENT: Final = "usage_inconsistent"  # the counts don't add up
CACHED_OVER_INPUT: Final = "cached_over_input"  # more read from the cache than there was; cut
OUTPUT_FROM_TOTAL: Final = "output_from_total"  # the total holds output that no other count shows

_PLAIN: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
)
_MOST = 10**12  # tokens; anything larger is a mistake, and would not fit the ledger's columns

# What each count is called, by where it stands. The first name with a count over zero is taken.
_BESIDE: Final = {
    "prompt_tokens": "prompt",
    "input_tokens": "prompt",
    "completion_tokens": "completion",
    "output_tokens": "completion",
    "total_tokens": "total",
    "cached_tokens": "cached",  # Moonshot, Together
    "prompt_cache_hit_tokens": "cached",  # DeepSeek
    "num_cached_tokens": "cached",  # Mistral
    "cache_read_input_tokens": "cached",  # Databricks
    "cache_creation_input_tokens": "written",  # Databricks
    "audio_prompt_tokens": "audio",
    "reasoning_tokens": "reasoning",  # Perplexity, SGLang
    "num_search_queries": "searches",  # Perplexity
    "num_sources_used": "searches",  # xAI
    "prompt_audio_seconds": "seconds",  # Mistral bills sound by its length
}
# The second spelling is that of realtime sessions, of transcriptions, of Mistral and Writer.
_DETAILS = ("{}_tokens_details", "{}_token_details")
_PROMPT_IN: Final = tuple(d.format(side) for d in _DETAILS for side in ("prompt", "input"))
_OUTPUT_IN: Final = tuple(d.format(side) for d in _DETAILS for side in ("completion", "output"))
_PROMPT_DETAILS: Final = {
    "cached_tokens": "cached",
    "cache_write_tokens": "written",
    "cache_creation_input_tokens": "written",  # DashScope
    "created_cache_tokens": "written",  # vLLM
    "audio_tokens": "audio",
    "image_tokens": "image",
}
_COMPLETION_DETAILS: Final = {
    "reasoning_tokens": "reasoning",
    "audio_tokens": "audio",
    "image_tokens": "image",
}
_TOOLS: Final = {
    "web_search_requests": "searches",
    "web_search_calls": "searches",  # xAI
    "x_search_calls": "x_searches",  # xAI
}

Json = dict[str, Any]


class Reading(Struct, frozen=True):
    """A usage object, understood. ``flags`` say what was odd about it."""

    usage: Usage
    flags: tuple[str, ...] = ()


def find_usage(answer: Json) -> Json | None:
    """The usage object of an answer or a chunk, wherever its provider puts it; None: nothing counted.

    An object without any number over zero says nothing (some send it in every chunk but the last).
    """
    usage = answer.get("usage")
    if isinstance(usage, dict) and _says_something(usage):
        return usage
    x_groq = answer.get("x_groq")
    places = [x_groq] if x_groq is not None else []
    choices = answer.get("choices")
    if isinstance(choices, list):
        places += choices  # Moonshot
    for place in places:
        if isinstance(place, dict):
            usage = place.get("usage")
            if isinstance(usage, dict) and _says_something(usage):
                return usage
    return None


def read_usage(raw: Json) -> Reading:
    """The counts in disjoint buckets; ``input_tokens`` and ``output_tokens`` are what is billed."""
    plain = _plain(raw)
    if plain is not None:
        return Reading(plain)
    figures = _Figures(raw)
    outside = figures.outside()
    beside = {"searches": figures.searches, "milliseconds": figures.seconds * 1000}
    usage = Usage(**_input(figures, outside), **_output(figures, outside), **beside)
    return Reading(usage, tuple(figures.flags))


class _PromptDetails(Struct, forbid_unknown_fields=True):
    cached_tokens: int = 0
    audio_tokens: int = 0


class _CompletionDetails(Struct, forbid_unknown_fields=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _PlainUsage(Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_NO_PROMPT_DETAILS, _NO_COMPLETION_DETAILS = _PromptDetails(), _CompletionDetails()
_decode_plain = Decoder(_PlainUsage).decode


def read_plain_usage(raw: bytes) -> Usage | None:
    """The usage where it is as OpenAI writes it, says something, and holds only text; else None.

    As ``read_usage`` would read it, in a fifth of the time.
    """
    try:
        said = _decode_plain(raw)
    except (DecodeError, UnicodeDecodeError):
        return None
    prompt, completion = said.prompt_tokens, said.completion_tokens
    of_prompt = said.prompt_tokens_details or _NO_PROMPT_DETAILS
    of_completion = said.completion_tokens_details or _NO_COMPLETION_DETAILS
    cached, reasoning = of_prompt.cached_tokens, of_completion.reasoning_tokens
    if (
        0 <= cached <= prompt
        and 0 <= reasoning <= completion
        and 0 < prompt + completion == said.total_tokens <= _MOST
        and not of_prompt.audio_tokens
        and not of_completion.audio_tokens
        and not of_completion.accepted_prediction_tokens
        and not of_completion.rejected_prediction_tokens
    ):
        return Usage(
            input=prompt - cached,
            cached_input=cached,
            output=completion - reasoning,
            reasoning=reasoning,
        )
    return None


def _plain(raw: Json) -> Usage | None:
    """The usage where it is as OpenAI writes it and holds only text, which is nearly always."""
    if not _PLAIN.issuperset(raw):
        return None
    prompt, completion, total = map(raw.get, ("prompt_tokens", "completion_tokens", "total_tokens"))
    if type(prompt) is not int or type(completion) is not int or type(total) is not int:
        return None
    cached = _only(raw.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _only(raw.get("completion_tokens_details"), "reasoning_tokens")
    if not (0 <= cached <= prompt and 0 <= reasoning <= completion):
        return None
    if prompt + completion != total or total > _MOST:
        return None
    return Usage(
        input=prompt - cached,
        cached_input=cached,
        output=completion - reasoning,
        reasoning=reasoning,
    )


def _only(details: object, name: str) -> int:
    """The one count over zero that the details hold; -1 where there is any other."""
    if details is None:
        return 0
    if type(details) is not dict:
        return -1
    only = 0
    for key, value in details.items():
        if type(value) is not int:
            return -1
        if value:
            if key != name:
                return -1
            only = value
    return only


def _says_something(usage: Json) -> bool:
    for value in usage.values():
        kind = type(value)
        if (kind is int or kind is float) and value > 0:
            return True
    return False


class _Figures:
    """The numbers of one usage object, whatever they are called."""

    __slots__ = (
        "audio_input",
        "audio_output",
        "cached",
        "cached_details",
        "completion",
        "flags",
        "image_input",
        "image_output",
        "prompt",
        "reasoning",
        "reasoning_beside",
        "searches",
        "seconds",
        "total",
        "written",
    )

    def __init__(self, raw: Json) -> None:
        self.flags: list[str] = []
        beside = self.counts(raw, _BESIDE)
        details = self._object(raw, *_PROMPT_IN)
        inner = self.counts(details, _PROMPT_DETAILS)
        outer = self.counts(self._object(raw, *_OUTPUT_IN), _COMPLETION_DETAILS)
        self.prompt, self.completion, self.total = _totals(beside)
        self.cached = inner.get("cached") or beside.get("cached", 0)
        self.written = inner.get("written") or beside.get("written", 0)
        self.audio_input = inner.get("audio") or beside.get("audio", 0)
        self.image_input = inner.get("image", 0)
        self.cached_details = details.get("cached_tokens_details")
        self.reasoning_beside = "reasoning" not in outer
        self.reasoning = outer.get("reasoning") or beside.get("reasoning", 0)
        self.audio_output = outer.get("audio", 0)
        self.image_output = outer.get("image", 0)
        self.searches, self.seconds = beside.get("searches", 0), beside.get("seconds", 0)
        tools = self._object(
            raw, "server_tool_use_details", "server_tool_use", "server_side_tool_usage_details"
        )
        if tools:
            self.searches = sum(self.counts(tools, _TOOLS).values()) or self.searches

    def counts(self, raw: Json, names: dict[str, str]) -> dict[str, int]:
        """The counts that the object has, by our names for them."""
        found: dict[str, int] = {}
        for name, value in raw.items():
            ours = names.get(name)
            if ours is None or value is None:
                continue
            if type(value) is float and value.is_integer():
                value = int(value)  # noqa: PLW2901 - the same number, as what it is
            if type(value) is not int or not 0 <= value <= _MOST:
                self.flag(WRONG_TYPE)
            elif value or ours not in found:
                found[ours] = found.get(ours) or value
        return found

    def flag(self, flag: str) -> None:
        """Note what is odd, once."""
        if flag not in self.flags:
            self.flags.append(flag)

    def at_most(self, count: int, limit: int, flag: str = INCONSISTENT) -> int:
        """The count, cut to what there is."""
        if count <= limit:
            return count
        self.flag(flag)
        return limit

    def outside(self) -> tuple[str, ...]:
        """Which of the details are not part of the prompt or completion count, as the total shows.

        xAI counts reasoning beside the completion, Mistral audio beside the prompt, Databricks'
        Anthropic models what was cached beside it. Gemini's total holds thoughts that nothing else
        shows: they are added to the reasoning.
        """
        cache = self.cached + self.written
        if self.total is None:
            return ("reasoning",) if self.reasoning > self.completion else ()
        rest = self.total - self.prompt - self.completion
        if rest == 0:
            beside = self.reasoning_beside and self.reasoning > self.completion
            return ("reasoning",) if beside else ()  # Perplexity's research models
        for names, sum_ in (
            (("reasoning",), self.reasoning),
            (("audio",), self.audio_input),
            (("audio", "reasoning"), self.audio_input + self.reasoning),
            (("cache",), cache),
            (("cache", "reasoning"), cache + self.reasoning),
        ):
            if sum_ == rest:
                return names
        self.flag(OUTPUT_FROM_TOTAL if rest > 0 else INCONSISTENT)
        return ("hidden",) if rest > 0 else ()

    def _object(self, raw: Json, *names: str) -> Json:
        for name in names:
            value = raw.get(name)
            if type(value) is dict:
                return value
            if value is not None:
                self.flag(WRONG_TYPE)
        return {}


def _totals(beside: dict[str, int]) -> tuple[int, int, int | None]:
    """Prompt, completion and total; one that is missing follows from the other two."""
    prompt, completion, total = map(beside.get, ("prompt", "completion", "total"))
    if prompt is not None and completion is not None:
        return prompt, completion, total or (None if prompt or completion else 0)
    if prompt is None:
        prompt = max(0, (total or 0) - (completion or 0))
    if completion is None:
        completion = max(0, (total or 0) - prompt)
    return prompt, completion, total or None


def _input(figures: _Figures, outside: tuple[str, ...]) -> dict[str, int]:
    """The input side. What came from the cache is taken from the text first: prompts begin with it."""
    total = figures.prompt
    if "audio" in outside:
        total += figures.audio_input
    if "cache" in outside:
        total += figures.cached + figures.written
    cached = figures.at_most(figures.cached, total, CACHED_OVER_INPUT)
    written = figures.at_most(figures.written, total - cached)
    audio = figures.at_most(figures.audio_input, total)
    image = figures.at_most(figures.image_input, total - audio)
    text = total - audio - image
    if not audio and not image:
        return {"input": text - cached - written, "cached_input": cached, "cache_write": written}
    cached_audio, cached_image = _cached_media(figures, cached, text, audio, image)
    pools = [
        text - (cached - cached_audio - cached_image),
        image - cached_image,
        audio - cached_audio,
    ]
    left = written
    for i, pool in enumerate(pools):
        taken = min(left, pool)
        pools[i] -= taken
        left -= taken
    return {
        "input": pools[0],
        "cached_input": cached - cached_audio - cached_image,
        "cache_write": written,
        "audio_input": pools[2],
        "cached_audio_input": cached_audio,
        "image_input": pools[1],
        "cached_image_input": cached_image,
    }


def _cached_media(
    figures: _Figures, cached: int, text: int, audio: int, image: int
) -> tuple[int, int]:
    """How much of the cached input is audio and image: as stated, else what the text can't hold."""
    details = figures.cached_details
    stated = figures.counts(details, _PROMPT_DETAILS) if isinstance(details, dict) else {}
    cached_audio = min(audio, cached, stated.get("audio", 0))
    cached_image = min(image, cached - cached_audio, stated.get("image", 0))
    missing = max(0, cached - cached_audio - cached_image - text)
    more_image = min(missing, image - cached_image)
    return cached_audio + missing - more_image, cached_image + more_image


def _output(figures: _Figures, outside: tuple[str, ...]) -> dict[str, int]:
    total, reasoning = figures.completion, figures.reasoning
    if "reasoning" in outside:
        total += reasoning
    if "hidden" in outside and figures.total is not None:
        hidden = figures.total - figures.prompt - figures.completion
        total += hidden
        reasoning += hidden
    reasoning = figures.at_most(reasoning, total)
    audio = figures.at_most(figures.audio_output, total - reasoning)
    image = figures.at_most(figures.image_output, total - reasoning - audio)
    return {
        "output": total - reasoning - audio - image,
        "reasoning": reasoning,
        "audio_output": audio,
        "image_output": image,
    }
