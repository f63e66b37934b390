"""What the data path knows of the configuration: one frozen object, swapped whole on a reload."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.core.pricing import PriceBook
from proxy.core.rates import RateLimit
from proxy.gateway.dialects.base import Quirks
from proxy.gateway.router import Router
from proxy.gateway.upstreams.base import Headers, UpstreamClient, UpstreamRequest
from proxy.gateway.upstreams.sockets import SocketClient


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider endpoint, ready to call."""

    name: str
    client: UpstreamClient
    sockets: SocketClient | None = None  # for realtime sessions
    dialect: str = "openai"
    provider: str = ""  # the price book's name for it
    host: str = ""  # of its base_url
    variants: tuple[str, ...] = ()  # what its address says about prices: a region
    credential: Headers = field(default_factory=list)  # takes the place of the client's
    credential_header: str = "authorization"  # where it takes a key that the client brought
    # What stands before an OpenAI path here, where it also speaks that beside its own API.
    openai_prefix: bytes = b""
    also: tuple[str, ...] = ()  # other APIs that it speaks, at the same place
    openai_credential: Headers | None = None  # there, if it takes its key in another header
    sign: Callable[[UpstreamRequest], UpstreamRequest] | None = None  # instead of a credential
    headers: Headers = field(default_factory=list)  # configured extras
    quirks: Quirks = field(default_factory=Quirks)
    drain: bool = True  # a client that leaves a stream: read it to its end (else abort and count)
    bills_whole: bool = False  # what a stream would have come to, even if we left it
    drain_s: float = 120.0
    max_draining: int = 256

    def signed(self, request: UpstreamRequest) -> UpstreamRequest:
        """The request as it has to be sent, where its credential is a signature."""
        return request if self.sign is None else self.sign(request)


def speaks(upstream: Upstream) -> frozenset[str]:
    """The families of paths that an upstream understands."""
    beside = ("openai",) if upstream.openai_prefix else ()
    return frozenset((upstream.dialect, *beside, *upstream.also))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send."""

    max_body_bytes: int = 32 * 2**20
    max_header_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Defaults:
    """Policies for what no key, team or model says."""

    max_output_tokens: int | None = None
    on_over_cap: str = "clamp"  # clamp | reject
    hold_wait_s: float = 1.0


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How batches are seen to their end."""

    poll: bool = True
    poll_s: float = 60.0  # until one is asked for first
    slack_s: float = 21_600.0  # how long after its window its hold is lost


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The data path's configuration."""

    upstreams: dict[str, Upstream]
    router: Router
    prices: PriceBook
    limits: Limits = field(default_factory=Limits)
    defaults: Defaults = field(default_factory=Defaults)
    propagate: bool = False  # upstreams get the trace context
    batches: BatchPolicy = field(default_factory=BatchPolicy)
    shared: frozenset[str] = frozenset()  # APIs that several upstreams speak
    # By ("team" or "key", its name): only of those that have one.
    rate_limits: Mapping[tuple[str, str], RateLimit] = field(default_factory=dict)
