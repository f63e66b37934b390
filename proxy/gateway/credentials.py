"""Credentials on the wire: where each API takes its key, read from a client and written for an upstream."""

import re
from typing import Final
from urllib.parse import unquote_plus

from proxy.gateway.inbound import Inbound
from proxy.gateway.upstreams.base import Headers

BEARER: Final = "authorization"

# The header in which an API takes its key, by the dialect of its upstreams.
HEADERS: Final = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}

_KEY_HEADERS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")
# AWS signs with a secret that we do not have, and names the key that it belongs to.
_SIGNED = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
_QUERY_KEY = re.compile(rb"(?:^|(?<=&))key=([^&]*)&?")
_QUERY_FAMILIES: Final = frozenset(("gemini", "vertex"))


def shown_by(inbound: Inbound, family: str) -> str:
    """The secret that the client showed, "" where it showed none.

    In the place of any API's SDK: a bearer token, a header of its own, the key id of a signature,
    and, for Gemini's, ``?key=``.
    """
    values = inbound.values
    written = values.get(b"authorization", b"")
    if written[:7].lower() == b"bearer ":
        return written[7:].strip().decode("latin-1")
    for header in _KEY_HEADERS:
        if header in values:
            return values[header].strip().decode("latin-1")
    if signed := _SIGNED.match(written):
        return signed[1].decode("latin-1")
    if family in _QUERY_FAMILIES and (found := _QUERY_KEY.search(inbound.query)):
        return unquote_plus(found[1].decode("latin-1"))
    return ""


def without_key(query: bytes, family: str) -> bytes:
    """A query without the client's credential."""
    if family not in _QUERY_FAMILIES or b"key=" not in query:
        return query
    return _QUERY_KEY.sub(b"", query).removesuffix(b"&")


def credential(header: str, key: str) -> Headers:
    """The header that carries a key."""
    if header == BEARER:
        return [(b"authorization", b"Bearer " + key.encode())]
    return [(header.encode(), key.encode())]
