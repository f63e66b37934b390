"""Which dialect speaks at which endpoint. A new one is its own file and one line here."""

from typing import Final

from proxy.gateway.dialects import (
    anthropic,
    cohere,
    gemini,
    gemini_interactions,
    ollama,
    openai_chat,
)
from proxy.gateway.dialects.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *openai_chat.ROUTES,
    *anthropic.ROUTES,
    *gemini.ROUTES,
    *gemini_interactions.ROUTES,
    *cohere.ROUTES,
    *ollama.ROUTES,
)
