"""Where an upstream lives: the parts of its base URL, and the TLS that leads there."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from proxy.core.errors import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443}
# A model may think for minutes without a byte: what lies between (NAT, load balancers) must not
# forget the connection meanwhile, and a peer that vanished must be noticed.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
SOCKET_OPTIONS: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEP_ALIVE.items()
        if hasattr(socket, name)  # not every system has them
    ),
]
_IN_PATH = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Origin:
    """A base URL, taken apart once so that no call has to do it."""

    scheme: str
    host: str  # as a resolver and a certificate take it: no brackets, IDNA
    port: int
    authority: bytes  # the value of ``host``
    prefix: bytes  # the base URL's path without a closing slash: b"/v1", b""

    def target(self, below: bytes) -> bytes:
        """The request target for a path and query below the base URL, not checked."""
        if not below:
            return self.prefix or b"/"
        if below.startswith(b"?") and not self.prefix:
            return b"/" + below
        return self.prefix + below


def parse_origin(base_url: str) -> Origin:
    """Take a base URL apart.

    Raises ConfigurationError where it is no plain http or https URL: user names, queries and
    fragments have no place in it.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"base_url: {error}; write https://host[:port][/path]") from error
    _refuse_extras(parts)
    host = _ascii_host(parts.hostname or "")
    prefix = parts.path.rstrip("/").encode()
    if prefix.translate(None, _IN_PATH):
        raise ConfigurationError("base_url: percent-encode everything in its path but ASCII")
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        shown = f"{shown}:{port}"
    return Origin(
        scheme=parts.scheme,
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        authority=shown.encode(),
        prefix=prefix,
    )


def tls_context(*, verify: bool, ca_file: str | None) -> "ResumingContext":
    """A context that verifies certificate and host name, unless told not to.

    ``ca_file`` (PEM) replaces the system's certificate authorities. Raises ConfigurationError where
    it can't be read.
    """
    if ca_file is not None and not Path(ca_file).is_file():
        raise ConfigurationError(f"ca_file: there is no file {ca_file}")
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"ca_file: {ca_file} holds no certificate in PEM form ({error})"
        ) from error
    return context


class ResumingContext(ssl.SSLContext):
    """Offers the last TLS session to the next connection, which spares both sides the key exchange.

    asyncio and uvloop have no argument for that; both create their TLS objects through
    ``wrap_bio``. One context belongs to one upstream: a session is of use nowhere else.
    """

    session: ssl.SSLSession | None = None

    def wrap_bio(  # noqa: D102 - the parent's
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(
            incoming, outgoing, server_side, server_hostname, session or self.session
        )


def _refuse_extras(parts: SplitResult) -> None:
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(
            f"base_url: {parts.geturl()!r} is no URL of a server; write https://host[:port][/path]"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("base_url: holds credentials; write them into api_key")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url: holds a query or a fragment; leave it out")


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise ConfigurationError(f"base_url: {host!r} is no host name ({error})") from error
