"""Which client an upstream gets."""

from typing import Literal

from proxy.gateway.upstreams.base import Timeouts, UpstreamClient
from proxy.gateway.upstreams.http1 import Http1Client

ClientKind = Literal["http1", "httpx"]


def build_client(
    base_url: str,
    *,
    client: ClientKind = "http1",
    timeouts: Timeouts = Timeouts(),
    max_connections: int = 1000,
    idle_expiry_s: float = 15.0,
    verify_tls: bool = True,
    ca_file: str | None = None,
    proxy: str | None = None,
    http2: bool = False,
) -> UpstreamClient:
    """The client for one upstream: our own, or httpx where asked, and for ``proxy`` and ``http2``.

    Times are seconds. No connection is opened before the first request. Raises ConfigurationError.
    """
    if client == "httpx" or proxy is not None or http2:
        # httpx takes a tenth of a second to import, which most processes need not spend.
        from proxy.gateway.upstreams.httpx_client import HttpxClient  # noqa: PLC0415 - see above

        return HttpxClient(
            base_url,
            timeouts=timeouts,
            max_connections=max_connections,
            idle_expiry_s=idle_expiry_s,
            verify_tls=verify_tls,
            ca_file=ca_file,
            proxy=proxy,
            http2=http2,
        )
    return Http1Client(
        base_url,
        timeouts=timeouts,
        max_connections=max_connections,
        idle_expiry_s=idle_expiry_s,
        verify_tls=verify_tls,
        ca_file=ca_file,
    )
