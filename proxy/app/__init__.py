"""The one place where things are wired: an ASGI application, and the server that runs it."""

from proxy.app.lean import load_structlog_alone

load_structlog_alone()

from proxy.app.application import Application  # noqa: E402 - which loads it
from proxy.app.serve import serve  # noqa: E402

__all__ = ["Application", "serve"]
