"""The HTTP clients of the data path: one protocol, contract-tested."""

from proxy.gateway.upstreams.build import ClientKind, build_client

__all__ = ["ClientKind", "build_client"]
