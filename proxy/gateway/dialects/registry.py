"""Which dialect speaks at which endpoint. A new one is its own file and one line here."""

from typing import Final

from proxy.gateway.dialects import anthropic, gemini, gemini_interactions, openai_chat
from proxy.gateway.dialects.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *openai_chat.ROUTES,
    *anthropic.ROUTES,
    *gemini.ROUTES,
    *gemini_interactions.ROUTES,
)
