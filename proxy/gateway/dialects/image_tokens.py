"""Tokens of pictures that GPT Image models make, and what their answers say of them."""

from typing import Any, Final

from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.usage import WRONG_TYPE, Json

_MOST = 10**12

# Output tokens of one picture, by quality and size, as OpenAI publishes them for gpt-image-1, -mini
# and 1.5.
_TOKENS: Final = {
    "low": {"1024x1024": 272, "1024x1536": 408, "1536x1024": 400},
    "medium": {"1024x1024": 1056, "1024x1536": 1584, "1536x1024": 1568},
    "high": {"1024x1024": 4160, "1024x1536": 6240, "1536x1024": 6208},
}
_DEAREST: Final = 6240
PARTIAL: Final = 100  # of each picture that is shown before it is done


def tokens_of(quality: object, size: object) -> int:
    """The most output tokens of one picture; what is left open counts as the dearest."""
    by_size = _TOKENS.get(quality) if type(quality) is str else None
    if by_size is None:
        qualities = list(_TOKENS.values())
        return max(q.get(size, _DEAREST) if type(size) is str else _DEAREST for q in qualities)
    return by_size.get(size, max(by_size.values())) if type(size) is str else max(by_size.values())


def tokens_of_call(call: Json) -> int:
    """The tokens of a picture that a tool made, by what the answer says of it."""
    return tokens_of(call.get("quality"), call.get("size"))


def image_usage(raw: Any) -> Usage:
    """A usage object of the images API. Output without details is pictures."""
    if type(raw) is not dict:
        return EMPTY
    written, of_input = _numbers(raw, "input_tokens"), _details(raw, "input")
    drawn, of_output = _numbers(raw, "output_tokens"), _details(raw, "output")
    image_input = min(of_input.get("image_tokens", 0), written)
    text_output = min(of_output.get("text_tokens", 0), drawn)
    reasoning = min(of_output.get("reasoning_tokens", 0), drawn - text_output)
    cached = min(of_input.get("cached_tokens", 0), written)
    cached_text = min(cached, written - image_input)
    cached_image = cached - cached_text
    return Usage(
        input=written - image_input - cached_text,
        cached_input=cached_text,
        image_input=image_input - cached_image,
        cached_image_input=cached_image,
        output=text_output,
        reasoning=reasoning,
        image_output=drawn - text_output - reasoning,
    )


def image_flags(raw: Json) -> tuple[str, ...]:
    """What is odd about such an object."""
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        value = raw.get(name)
        if value is not None and not _is_count(value):
            return (WRONG_TYPE,)
    return ()


def _details(raw: Json, side: str) -> dict[str, int]:
    details = raw.get(f"{side}_tokens_details")
    if type(details) is not dict:
        return {}
    return {name: int(value) for name, value in details.items() if _is_count(value)}


def _numbers(raw: Json, name: str) -> int:
    value: Any = raw.get(name)
    return int(value) if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    """Whether it is a whole number, however it is written."""
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return whole and 0 <= value <= _MOST
