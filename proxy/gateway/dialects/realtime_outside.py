"""What opens a realtime session past Farebox: WebRTC, SIP, and the secrets that browsers open it with.

What such a session costs is never seen here, so that its call can't be bounded: a blocking budget's
policy for those decides (``unbounded``). The call itself is passed on, and its row says ``outside``.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.route import openai_routes
from proxy.gateway.dialects.unmetered import PassThrough, Unmetered

OUTSIDE: Final = "outside"
_PART: Final = b'name="session"'
_END_OF_HEAD: Final = b"\r\n\r\n"


class Outside(Unmetered):
    """Reads the model, where there is one; the rest is the upstream's."""

    def __init__(
        self,
        name: str,
        why: str,
        flags: tuple[str, ...] = (),
        family: str = "openai",
        error_body: Callable[[Refusal], bytes] = openai_error,
    ) -> None:
        super().__init__(family, error_body)
        self.name = name
        self._why = why
        self._flags = flags

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """The model of the session that is asked for, in JSON or in a part of a form."""
        del address
        return RequestFacts(
            model=_model(body), unbounded=(self._why,), makes_text=False, text_bytes=0
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The same body."""
        del patch
        return body

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that passes everything: what is used is used elsewhere."""
        del facts, watch
        scanner = PassThrough()
        scanner.scan = Scan(counted=EMPTY, flags=self._flags)
        return scanner


def _model(body: bytes) -> str:
    document = _object(body)
    if not document:
        _, found, rest = body.partition(_PART)
        if not found:
            return ""
        _, _, content = rest.partition(_END_OF_HEAD)
        document = {"session": _object(content.partition(b"\r\n--")[0])}
    session = document.get("session")
    places = (session, document) if type(session) is dict else (document,)
    models = (place.get("model") for place in places)
    return next((model for model in models if type(model) is str), "")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if type(value) is dict else {}


_OUTSIDE: Final = Outside(
    "openai_realtime_outside", "a session that does not run through Farebox", (OUTSIDE,)
)
ROUTES: Final = tuple(
    route
    for path in ("/calls", "/client_secrets", "/sessions", "/transcription_sessions",
                 "/translations", "/translations/calls", "/translations/client_secrets")
    for route in openai_routes(f"/realtime{path}", _OUTSIDE, "realtime.outside")
)  # fmt: skip
