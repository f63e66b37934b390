"""What opens a realtime session past Farebox: WebRTC, SIP, and the secrets that browsers open it with."""

from typing import Final

from proxy.gateway.dialects.errors import google_error
from proxy.gateway.dialects.outside import Outside
from proxy.gateway.dialects.route import Route, openai_routes

_WHY: Final = "a session that does not run through Farebox"
_OPENAI: Final = Outside("openai_realtime_outside", _WHY)
_GEMINI: Final = Outside("gemini_live_outside", _WHY, "gemini", google_error)

ROUTES: Final = (
    *(
        route
        for path in ("/calls", "/client_secrets", "/sessions", "/transcription_sessions",
                     "/translations", "/translations/calls", "/translations/client_secrets")
        for route in openai_routes(f"/realtime{path}", _OPENAI, "realtime.outside")
    ),
    *(
        Route("POST", f"/{version}/auth_tokens", _GEMINI, "realtime.outside", holds="")
        for version in ("v1beta", "v1", "v1alpha")
    ),
)  # fmt: skip
