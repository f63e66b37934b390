"""Secrets that Farebox issues: ``fb-sk-``, 43 characters of 256 random bits, and 6 of checksum.

The checksum turns away what was cut off in copying, or made up, before a database is asked.
"""

import secrets
from hashlib import sha256
from zlib import crc32

ISSUED = "fb-sk-"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BITS = 256
_BODY = 43  # 62**43 > 2**256
_CHECK = 6  # 62**6 > 2**32
_SHORTEST_SHOWN = 20  # of a shorter secret, even the beginning says too much


def new_secret() -> str:
    """A new secret, never seen before."""
    body = _base62(secrets.randbits(_BITS), _BODY)
    return ISSUED + body + _checksum(body)


def well_formed(secret: str) -> bool:
    """Whether the secret may have been issued by Farebox."""
    body, check = secret[len(ISSUED) : -_CHECK], secret[-_CHECK:]
    return secret.startswith(ISSUED) and len(body) == _BODY and _checksum(body) == check


def digest(secret: str) -> str:
    """What is stored of a secret: its SHA-256, as hex."""
    return sha256(secret.encode()).hexdigest()


def visible_prefix(secret: str) -> str:
    """The part by which people tell keys apart: ``fb-sk-ab12…``."""
    if len(secret) < _SHORTEST_SHOWN:
        return "…"
    return secret[: len(ISSUED) + 4] + "…" if secret.startswith(ISSUED) else secret[:6] + "…"


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.rjust(length, "0")
