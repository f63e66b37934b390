"""Usage: what one attempt consumed, in disjoint buckets."""

from collections.abc import Callable
from enum import StrEnum
from operator import add, attrgetter

from msgspec import Struct


class UsageSource(StrEnum):
    """Where a row's counts come from."""

    PROVIDER = "provider"  # reported in the answer
    COUNTED = "counted"  # tokenizer on the bytes relayed
    ESTIMATED = "estimated"  # neither: a policy's figure (a lost call)
    NONE = "none"  # the call is not metered


class Usage(Struct, frozen=True, omit_defaults=True):
    """Counts of one attempt. No token is in two buckets; ``reasoning`` is not part of ``output`` here.

    Outside (rows, metrics, reports) the totals are shown: ``input_tokens`` is all input and
    ``output_tokens`` is all output.
    """

    input: int = 0  # plain text input: neither cached, nor written to a cache, nor audio, nor image
    cached_input: int = 0
    cache_write: int = 0  # at the default time to live
    cache_write_1h: int = 0
    audio_input: int = 0
    cached_audio_input: int = 0
    image_input: int = 0
    cached_image_input: int = 0
    output: int = 0  # visible text
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    images: int = 0  # pictures made, where they are priced by the piece
    milliseconds: int = 0  # of audio or video
    characters: int = 0
    searches: int = 0
    pages: int = 0  # of documents that were read
    file_searches: int = 0
    containers: int = 0  # sandboxes in which the provider ran code

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached and cache-written among them."""
        return sum(_all_input(self))

    @property
    def cached_tokens(self) -> int:
        """Input tokens read from the provider's cache."""
        return self.cached_input + self.cached_audio_input + self.cached_image_input

    @property
    def cache_write_tokens(self) -> int:
        """Input tokens written to the provider's cache."""
        return self.cache_write + self.cache_write_1h

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning among them."""
        return sum(_all_output(self))

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(add, _counts(self), _counts(other)))

    def nonzero(self) -> dict[str, int]:
        """The buckets that hold anything, by name."""
        return {bucket: n for bucket, n in zip(BUCKETS, _counts(self), strict=True) if n}


class UsagePart(Struct, frozen=True, omit_defaults=True):
    """A part of an answer's usage that is billed at a model's own price."""

    model: str  # "": the answer's
    usage: Usage
    service_tier: str = ""  # "": the answer's


BUCKETS: tuple[str, ...] = Usage.__struct_fields__
EMPTY = Usage()
_all_input: Callable[[Usage], tuple[int, ...]] = attrgetter(*BUCKETS[:8])
_all_output: Callable[[Usage], tuple[int, ...]] = attrgetter(*BUCKETS[8:12])
_counts: Callable[[Usage], tuple[int, ...]] = attrgetter(*BUCKETS)
