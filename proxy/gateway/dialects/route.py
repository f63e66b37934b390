"""Where a dialect is spoken: a method, a path, and what the path says about the call."""

from typing import NamedTuple

from proxy.gateway.dialects.base import Dialect


class Route(NamedTuple):
    """One metered endpoint.

    ``path`` may name parts in braces: ``{model}`` and ``{action}`` are handed to the dialect, others
    only stand for a segment. ``{model}`` may hold escaped slashes.
    """

    method: str
    path: str
    dialect: Dialect
    endpoint: str  # the bounded label of metrics and rows: chat.completions, messages …
    metered: bool = True  # whether it costs anything; what is free is only sent on, by its model
    holds: str = "/v1"  # the leading part of the path that an upstream's base_url already has


def openai_routes(
    path: str, dialect: Dialect, endpoint: str, *, metered: bool = True
) -> tuple[Route, ...]:
    """An endpoint of OpenAI's API: at its own path, and at those that Azure has for it."""
    return (
        Route("POST", f"/v1{path}", dialect, endpoint, metered=metered),
        Route("POST", f"/openai/v1{path}", dialect, endpoint, holds="", metered=metered),
        Route(
            "POST",
            f"/openai/deployments/{{model}}{path}",
            dialect,
            endpoint,
            holds="",
            metered=metered,
        ),
    )
