"""Claude at Vertex: Anthropic's messages, with the model in Vertex's path."""

from typing import Final

from msgspec.structs import replace

from proxy.gateway.dialects.anthropic import AnthropicMessages
from proxy.gateway.dialects.base import Address, RequestFacts
from proxy.gateway.dialects.gemini import variants_of
from proxy.gateway.dialects.route import Route


class VertexClaude(AnthropicMessages):
    """``publishers/anthropic/models/{model}:rawPredict`` and ``streamRawPredict``."""

    family = "vertex"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        facts = super().inspect(body, address)
        return replace(facts, variants=(*facts.variants, *variants_of(address)))


_CLAUDE: Final = VertexClaude()
ROUTES: Final = tuple(
    Route(
        "POST",
        f"/{version}/projects/{{project}}/locations/{{location}}"
        f"/publishers/anthropic/models/{{model}}:{action}",
        _CLAUDE,
        "messages",
        holds="",
    )
    for version in ("v1", "v1beta1")
    for action in ("rawPredict", "streamRawPredict")
)
