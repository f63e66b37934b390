"""Every body of the admin API is JSON, whatever its ``content-type`` says: curl's ``-d`` says it is a form."""

from starlette.types import ASGIApp, Receive, Scope, Send

_NAME, _JSON = b"content-type", b"application/json"


class JsonOnly:
    """Reads what comes as JSON. No page of another site gains by it: the token is in no cookie."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            others = [header for header in scope["headers"] if header[0] != _NAME]
            scope = {**scope, "headers": [*others, (_NAME, _JSON)]}
        await self._app(scope, receive, send)
