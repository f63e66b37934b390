"""Endpoints that cost nothing and are about a model: sent on to where that model is, not metered."""

from typing import Final

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import Address, Patch, RequestFacts
from proxy.gateway.dialects.body_check import decisive, model_name, refuse_doubtful_names
from proxy.gateway.dialects.chat_body import parse
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.unmetered import Unmetered

_DECISIVE: Final = decisive("model")


class Free(Unmetered):
    """Reads the model, and writes the upstream's own name for it; the rest is the upstream's to judge."""

    name = "free"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """The model, where the body or the path names one."""
        try:
            document = parse(body)
            refuse_doubtful_names(body, body, document, _DECISIVE)
            model = model_name(address.model or document.get("model"))
        except InvalidRequest:
            return RequestFacts(model="")
        return RequestFacts(model=model)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The body with the model's name at the upstream."""
        if patch.model is None:
            return body
        edits: list[splice.Edit] = []
        set_model(body, splice.Object(body), patch.model, edits)
        return splice.apply(body, edits)
