"""Which dialect speaks at which endpoint. A new one is its own file and one line here."""

from typing import Final

from proxy.gateway.dialects import (
    anthropic,
    batches,
    bedrock_converse,
    bedrock_invoke,
    cohere,
    completions,
    embeddings,
    gemini,
    gemini_interactions,
    images,
    moderations,
    ocr,
    ollama,
    openai_chat,
    outside_routes,
    realtime_outside,
    responses,
    speech,
    transcription,
    vertex_claude,
    vertex_predict,
)
from proxy.gateway.dialects.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *openai_chat.ROUTES,
    *responses.ROUTES,
    *completions.ROUTES,
    *embeddings.ROUTES,
    *images.ROUTES,
    *speech.ROUTES,
    *transcription.ROUTES,
    *realtime_outside.ROUTES,
    *batches.ROUTES,
    *moderations.ROUTES,
    *ocr.ROUTES,
    *anthropic.ROUTES,
    *gemini.ROUTES,
    *vertex_claude.ROUTES,
    *vertex_predict.ROUTES,
    *gemini_interactions.ROUTES,
    *cohere.ROUTES,
    *ollama.ROUTES,
    *bedrock_converse.ROUTES,
    *bedrock_invoke.ROUTES,
    *outside_routes.ROUTES,
)
