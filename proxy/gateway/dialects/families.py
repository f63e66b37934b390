"""Whose API a path belongs to, also where the endpoint itself is only passed through."""

from typing import Final, NamedTuple

from proxy.gateway.dialects.base import Dialect
from proxy.gateway.dialects.errors import anthropic_error, google_error, openai_error
from proxy.gateway.dialects.unmetered import Unmetered

_OPENAI: Final = Unmetered("openai", openai_error)
_ANTHROPIC: Final = Unmetered("anthropic", anthropic_error)
_GEMINI: Final = Unmetered("gemini", google_error)
_VERTEX: Final = Unmetered("vertex", google_error)


class Family(NamedTuple):
    """One API as a client sees it: a prefix of paths."""

    prefix: str
    unmetered: Dialect  # for its endpoints that have no dialect of their own
    holds: str  # the leading part of the path that an upstream's base_url already has
    header: bytes = b""  # the prefix is this API's only where the request has this header


# The first that fits counts.
FAMILIES: Final[tuple[Family, ...]] = (
    Family("/openai/", _OPENAI, ""),  # Azure
    Family("/v1/messages/", _ANTHROPIC, "/v1"),  # its batches
    Family("/v1/", _ANTHROPIC, "/v1", header=b"anthropic-version"),
    Family("/v1/projects/", _VERTEX, ""),
    Family("/v1/publishers/", _VERTEX, ""),
    Family("/v1beta1/", _VERTEX, ""),
    Family("/v1beta/", _GEMINI, ""),
    Family("/v1alpha/", _GEMINI, ""),
    Family("/upload/", _GEMINI, ""),
    Family("/download/", _GEMINI, ""),
    Family("/v1/", _GEMINI, "", header=b"x-goog-api-key"),
    Family("/v1/", _OPENAI, "/v1"),
)
