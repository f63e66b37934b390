"""OpenAI's moderations, which are free."""

from typing import Final

from proxy.gateway.dialects.base import Address, Patch, RequestFacts
from proxy.gateway.dialects.free import Free
from proxy.gateway.dialects.route import openai_routes

_DEFAULT_MODEL: Final = "omni-moderation-latest"  # where the request names none


class Moderations(Free):
    """``/moderations``: its model says which upstream it is for, and who may."""

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """The model; any body is taken."""
        facts = super().inspect(body, address)
        return facts if facts.model else RequestFacts(model=_DEFAULT_MODEL)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The body with the model's name at the upstream; one that is no object stays as it is."""
        try:
            return super().patch(body, patch)
        except ValueError:
            return body


ROUTES: Final = openai_routes("/moderations", Moderations(), "moderations", metered=False)
