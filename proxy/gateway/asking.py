"""Asks a provider how something goes that it does by itself, with nobody waiting for the answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from proxy.gateway.active import ActiveCall
from proxy.gateway.config import Upstream
from proxy.gateway.dialects.base import Scanner
from proxy.gateway.forward import own_credential
from proxy.gateway.inbound import EXCHANGE, IDENTITY, Head, Inbound, Message
from proxy.gateway.upstreams.base import Headers, UpstreamRequest, UpstreamResponse

OK: Final = 200
# It may answer another time; whatever else it says, it will say again.
AGAIN: Final = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))


# Of a client's headers, what a provider is asked with later: whose it is, and in which version.
_KEPT: Final = (b"anthropic-version", b"anthropic-beta", b"openai-organization",
                b"openai-project", b"openai-beta", b"x-goog-user-project")  # fmt: skip


def kept_headers(call: ActiveCall) -> tuple[tuple[str, str], ...]:
    """What of a call's headers its provider is asked with when the client is gone."""
    values = call.inbound.values
    return tuple((n.decode(), values[n].decode("latin-1")) for n in _KEPT if n in values)


@asynccontextmanager
async def asked(upstream: Upstream, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
    """The answer, closed afterwards. Raises UpstreamFailed."""
    response = await upstream.client.send(request)
    try:
        yield response
    finally:
        await response.aclose()


async def read_into(scanner: Scanner, response: UpstreamResponse, largest_bytes: int) -> None:
    """Have a scanner look at an answer, or at so much of it. Raises UpstreamFailed."""
    size = 0
    while size < largest_bytes and (data := await response.read()):
        scanner.feed(data)
        size += len(data)
    scanner.finish()


def own_request(upstream: Upstream, family: str, target: str, headers: Headers) -> UpstreamRequest:
    """A request of our own, with what the upstream is configured with."""
    own = [IDENTITY, *own_credential(upstream, family), *upstream.headers]
    return upstream.signed(UpstreamRequest(b"GET", target.encode("latin-1"), [*headers, *own]))


class _Nobody:
    """The exchange of a request that no client has made."""

    head = Head("GET", b"", b"", [])
    declared = b""


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def unattended() -> Inbound:
    """What stands for the client where there is none."""
    return Inbound({EXCHANGE: _Nobody()}, _nothing)
