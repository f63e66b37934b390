"""The HTTP client of the data path, as a protocol: an adapter for httpx, and one of our own.

Both pass ``tests/contract/test_upstream_clients.py`` against a server that misbehaves.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

Headers = list[tuple[bytes, bytes]]
Sink = Callable[[bytes], bool]  # takes a piece of an answer; whether it wants the next one now


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first_byte`` is until the head of the answer, ``idle`` between two reads of it."""

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 300.0
    total: float = 1800.0


class Written:
    """What a client has made of a head, for the next request with the same one to the same upstream."""

    __slots__ = ("by", "head")

    def __init__(self) -> None:
        self.by: object = None
        self.head = b""


class UpstreamRequest(Struct, frozen=True):
    """One request, ready to send: end-to-end headers only, names in lower case.

    The client adds ``host``, ``content-length`` or ``transfer-encoding``, and its own connection
    management. A body that is an iterator can be sent once only. ``fresh``: on a new connection.
    ``written`` is shared by requests that differ in nothing but their bodies, which are bytes.
    """

    method: bytes
    target: bytes  # path and query below the upstream's base URL, as bytes on the wire: b"/chat/completions?x=1"
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    fresh: bool = False
    written: Written | None = None


class UpstreamResponse(Protocol):
    """An answer whose body is pulled, so that a slow reader slows the upstream down."""

    status: int
    headers: Headers  # as they came, order and repeats kept, names in lower case, hop-by-hop ones removed
    over: bool  # the last byte has come: what ``read`` gives next is the rest, or it was

    @property
    def ready(self) -> bool:
        """Whether ``read`` would not wait."""

    async def read(self) -> bytes:
        """The next bytes as they came; ``b""`` at the end.

        Raises UpstreamUnreachable where the connection breaks before the end of the body, and
        UpstreamTimeout.
        """

    async def pipe(self, sink: Sink) -> bytes | None:
        """Hand over each piece as it comes, and return what came with the end (it may be empty).

        None where the sink wants no more for now: what comes meanwhile waits, and ``pipe`` goes on.
        Raises as ``read`` does, and what the sink raises.
        """
        while data := await self.read():
            if self.over:
                return data
            if not sink(data):
                return None
        return b""

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end. Idempotent."""


class UpstreamClient(Protocol):
    """One upstream's connections: base URL, TLS, limits, time-outs."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request and return at the head of the answer (1xx answers are skipped).

        Raises UpstreamUnreachable (``sent`` False where no byte of the request left) and
        UpstreamTimeout. Redirects are not followed: they are answers. Nothing is ever sent twice:
        each sending may be billed, so whoever sends again has it in the ledger first.
        """

    async def aclose(self) -> None:
        """Close every connection."""
