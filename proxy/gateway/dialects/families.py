"""Whose API a path belongs to, also where the endpoint itself is only passed through."""

from typing import Final, NamedTuple

from proxy.gateway.dialects.base import Dialect
from proxy.gateway.dialects.errors import (
    anthropic_error,
    aws_error,
    cohere_error,
    google_error,
    ollama_error,
    openai_error,
)
from proxy.gateway.dialects.outside import Outside
from proxy.gateway.dialects.unmetered import Unmetered

_OPENAI: Final = Unmetered("openai", openai_error)
_ANTHROPIC: Final = Unmetered("anthropic", anthropic_error)
_GEMINI: Final = Unmetered("gemini", google_error)
_BEDROCK: Final = Unmetered("bedrock", aws_error)
_VERTEX: Final = Unmetered("vertex", google_error)
_COHERE: Final = Unmetered("cohere", cohere_error)
_OLLAMA: Final = Unmetered("ollama", ollama_error)
# What Cohere's older API has beside OpenAI's, under the same prefix.
_COHERE_V1: Final = (
    "check-api-key",
    "classify",
    "connectors",
    "datasets",
    "detokenize",
    "embed-jobs",
    "finetuning",
    "summarize",
    "tokenize",
)


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
    Family("/model/", _BEDROCK, ""),
    Family("/guardrail/", _BEDROCK, ""),
    Family("/async-invoke", _BEDROCK, ""),
    Family("/model-invocation-job", _BEDROCK, ""),
    Family("/v1/projects/", _VERTEX, ""),
    Family("/v1/publishers/", _VERTEX, ""),
    Family("/v1beta1/", _VERTEX, ""),
    Family("/v1beta/", _GEMINI, ""),
    Family("/v1alpha/", _GEMINI, ""),
    Family("/upload/", _GEMINI, ""),
    Family("/download/", _GEMINI, ""),
    Family("/v1/", _GEMINI, "", header=b"x-goog-api-key"),
    Family("/v2/", _COHERE, ""),
    *(Family(f"/v1/{first}", _COHERE, "") for first in _COHERE_V1),
    Family("/api/", _OLLAMA, ""),
    Family("/v1/", _OPENAI, "/v1"),
)

# A call that generates, at a path that only its provider knows: no dialect reads its answer.
_ELSEWHERE: Final = "a call that is metered at its own path only"
OUTSIDE: Final = {
    family: Outside(f"{family}_elsewhere", _ELSEWHERE, family, error)
    for family, error in (
        ("openai", openai_error),
        ("anthropic", anthropic_error),
        ("gemini", google_error),
        ("bedrock", aws_error),
        ("vertex", google_error),
        ("cohere", cohere_error),
        ("ollama", ollama_error),
    )
}
