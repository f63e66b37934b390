"""Websockets to an upstream: its base URL, TLS and time-outs, for sessions that are held open."""

import ssl
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.gateway.upstreams.base import Headers, Timeouts
from proxy.gateway.upstreams.origin import parse_origin, tls_context

_PING_EVERY_S = 20.0
_PONG_WITHIN_S = 60.0
_CLOSE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Answered(Exception):
    """The upstream answered a handshake with something else, which is the client's answer."""

    status: int
    headers: Headers
    body: bytes


class SocketClient:
    """Opens websockets below one base URL. Redirects are answers; nothing is tried twice."""

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts = Timeouts(),
        verify_tls: bool = True,
        ca_file: str | None = None,
    ) -> None:
        self._origin = parse_origin(base_url)
        self._open_within_s = timeouts.connect + min(timeouts.first_byte, 30.0)
        self._tls: ssl.SSLContext | None = None
        if self._origin.scheme == "https":
            self._tls = tls_context(verify=verify_tls, ca_file=ca_file)
            self._tls.set_alpn_protocols(["http/1.1"])

    async def open(
        self, target: bytes, headers: Headers, subprotocols: list[str], *, max_message_bytes: int
    ) -> ClientConnection:
        """A websocket to a path and query below the base URL.

        Raises Answered, UpstreamUnreachable and UpstreamTimeout.
        """
        origin = self._origin
        scheme = "ws" if self._tls is None else "wss"
        path = origin.target(target).decode("latin-1")
        opening = _Once(
            f"{scheme}://{origin.authority.decode()}{path}",
            additional_headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers],
            subprotocols=[Subprotocol(p) for p in subprotocols] or None,
            ssl=self._tls,
            # Both hops would compress for nothing: audio does not get shorter, and time counts.
            compression=None,
            user_agent_header=None,
            proxy=None,
            max_size=max_message_bytes,
            open_timeout=self._open_within_s,
            ping_interval=_PING_EVERY_S,
            ping_timeout=_PONG_WITHIN_S,
            close_timeout=_CLOSE_WITHIN_S,
        )
        try:
            return await opening
        except InvalidStatus as error:
            answer = error.response
            names = [(n.lower().encode(), v.encode()) for n, v in answer.headers.raw_items()]
            raise Answered(answer.status_code, names, bytes(answer.body or b"")) from None
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"The upstream did not open the session within {self._open_within_s:g} s."
            ) from error
        except (OSError, EOFError, InvalidHandshake) as error:
            raise UpstreamUnreachable(f"The upstream opened no session: {error}") from error


class _Once(connect):
    """Does not follow redirects: they would take the credential along."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
