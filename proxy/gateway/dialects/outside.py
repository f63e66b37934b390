"""What costs money that no answer tells of: a session past Farebox, a video, a job that runs for hours.

What it uses is never seen here, so that the call can't be bounded: a blocking budget's policy for those
decides (``unbounded``). The call itself is passed on, and its row says ``outside``.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.core.errors import Refusal
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.body_check import decisive, model_name, refuse_doubtful_names
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.form import Form, FormEdits
from proxy.gateway.dialects.model_splice import set_model
from proxy.gateway.dialects.unmetered import Beginning, Unmetered

OUTSIDE: Final = "outside"
_DECISIVE: Final = decisive("model")
_FORM_FIELDS: Final = ("model", "session")


class Outside(Unmetered):
    """Reads the model, where there is one; the rest is the upstream's."""

    def __init__(
        self,
        name: str,
        why: str,
        family: str = "openai",
        error_body: Callable[[Refusal], bytes] = openai_error,
        *,
        only_with: str = "",
    ) -> None:
        """``only_with``: it costs something only where the body has this member."""
        super().__init__(family, error_body)
        self.name = name
        self._why = why
        self._only_with = only_with

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """The model that is asked for. Raises InvalidRequest where it is in doubt."""
        document = _object(body)
        if document is None:
            return self._facts({}, address, read=not body)
        refuse_doubtful_names(body, body, document, _DECISIVE)
        return self._facts(document, address, read=True)

    def inspect_form(self, form: Form, address: Address) -> RequestFacts:
        """The same of a form."""
        document: dict[str, Any] = form.document(_FORM_FIELDS)
        if "session" in document:
            document["session"] = _object(str(document["session"]).encode())
        return self._facts(document, address, read=False)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The body with the model's name at the upstream."""
        if patch.model is None or _object(body) is None:
            return body
        edits: list[splice.Edit] = []
        set_model(body, splice.Object(body), patch.model, edits)
        return splice.apply(body, edits)

    def patch_form(self, form: Form, patch: Patch) -> FormEdits:
        """The same in a form."""
        return form.renamed(patch.model)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that passes everything: what is used is used elsewhere."""
        del watch
        scanner = Beginning()
        scanner.scan.flags = (OUTSIDE,) if facts.unbounded else ()
        return scanner

    def _facts(self, document: dict[str, Any], address: Address, *, read: bool) -> RequestFacts:
        model = address.model or _model(document)
        facts = RequestFacts(
            model=model_name(model) if model else "",
            outside=True,
            makes_text=False,
            text_bytes=0,
        )
        if self._only_with and read and self._only_with not in document:
            return facts
        return replace(facts, unbounded=(self._why,))


def _model(document: dict[str, Any]) -> str:
    session = document.get("session")
    places = (session, document) if type(session) is dict else (document,)
    models = (place.get("model") for place in places)
    return next((model for model in models if type(model) is str), "")


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None
