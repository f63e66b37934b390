"""The one place where things are wired: an ASGI application, and the server that runs it."""

from proxy.app.application import Application
from proxy.app.serve import serve

__all__ = ["Application", "serve"]
