"""The web page at ``/ui``: made on the server, from the same queries as reports and the admin API."""

from proxy.ui.application import create_ui
from proxy.ui.deps import UiDeps

__all__ = ["UiDeps", "create_ui"]
