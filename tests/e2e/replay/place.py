"""Where a recorded exchange is replayed: which upstream it needs, and what a client of Farebox calls."""

import re
from typing import Any, NamedTuple

Exchange = dict[str, Any]


class Place(NamedTuple):
    """An upstream's configuration, and the client's path that leads to it."""

    dialect: str
    preset: str | None
    base: str  # the path of its base_url
    path: str  # what the client asks Farebox for


# Names of Farebox's presets for the providers of the recordings.
_PRESETS = {
    "openai": "openai",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "groq": "groq",
    "xai": "xai",
    "openrouter": "openrouter",
    "together": "together",
    "perplexity": "perplexity",
    "alibaba": "dashscope",
    "moonshot": "moonshot",
    "zai": "zai",
    "vllm?": "vllm",
    "ollama": "ollama",
}
_SUFFIX = re.compile(
    r"(?P<base>.*?)/(?P<suffix>chat/completions|completions|responses(?:/[^/]+)?|embeddings"
    r"|images(?:/\w+)?|audio/\w+|rerank|videos/.*|threads.*|batches.*|traces/ingest|realtime/.*)$"
)
# Some recorders kept what was called, and not its address.
_NAMELESS = {
    "/chat": "/chat/completions",
    "/responses": "/responses",
    "/transcription": "/audio/transcriptions",
}


def place(exchange: Exchange) -> Place | None:
    """Where it is replayed; None where the recording does not say what was called."""
    provider = exchange["provider"]
    path = re.sub(r"^<[A-Z_]+>", "", exchange["path"]).replace("//", "/")
    path = re.sub(r"<[A-Z_]+>", "x", path)
    special = _SPECIAL.get(provider)
    found = special(path) if special else None
    if found is not None:
        return found
    if (provider, path) in _UNNAMED:
        return None
    match = _SUFFIX.fullmatch(_NAMELESS.get(path, path))
    if match is None:
        return None
    return Place("openai", _PRESETS.get(provider), match["base"], f"/v1/{match['suffix']}")


def _anthropic(path: str) -> Place:
    return Place("anthropic", None, "/v1", "/v1/messages" if path == "/chat" else path)


def _bedrock(path: str) -> Place | None:
    return Place("bedrock", None, "", path) if path.startswith("/model/") else None


def _azure(path: str) -> Place | None:
    if path.startswith(("/openai/", "/models/")):
        return Place("openai", "azure", "", path)
    return None


def _gemini(path: str) -> Place | None:
    if path == "/chat":
        return None
    return Place(
        "gemini", None, "/v1beta", "/v1beta/interactions" if path == "/interactions" else path
    )


def _vertex(path: str) -> Place:
    return Place("gemini", None, "", path)


def _cohere(path: str) -> Place:
    return Place("cohere", None, "", "/v2/chat" if path == "/chat" else path)


def _ollama(path: str) -> Place | None:
    return Place("ollama", None, "", path) if path.startswith("/api/") else None


_SPECIAL = {
    "anthropic": _anthropic,
    "aws-bedrock": _bedrock,
    "azure": _azure,
    "google-gla": _gemini,
    "google-vertex": _vertex,
    "cohere": _cohere,
    "ollama": _ollama,
}
# The model stands in the path there, and the path was not kept.
_UNNAMED = {("aws-bedrock", "/chat"), ("google-gla", "/chat")}
