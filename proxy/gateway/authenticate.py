"""Authenticate: the credential of whichever dialect was called becomes a principal."""

from typing import Any

from proxy.core.call import Key, Principal
from proxy.core.errors import InvalidApiKey, InvalidRequest
from proxy.gateway.credentials import shown_by
from proxy.gateway.inbound import Inbound
from proxy.gateway.ports import Keys

_MAX_TAGS = 16
_MAX_LENGTH = 256
_SECRET = "secret"  # noqa: S105 - where it stands among what was derived from a head


async def authenticate(
    inbound: Inbound, keys: Keys, now_us: int, family: str = "openai"
) -> tuple[Key, str]:
    """The key of a request, and the secret it was found by. Raises InvalidApiKey."""
    derived = inbound.head.derived
    secret = derived.get(_SECRET)
    if secret is None:
        secret = derived[_SECRET] = shown_by(inbound, family)
    if not secret:
        raise InvalidApiKey(
            "No API key. Send Farebox's key where this API takes its own: "
            "for OpenAI's, the header `Authorization: Bearer <key>`."
        )
    key = await keys.find(secret)
    if key is None:
        raise InvalidApiKey(
            "This API key is not known here, or was revoked. "
            "Keys are made with `farebox keys create` or under `keys:` in the configuration."
        )
    if key.expires_at_us is not None and key.expires_at_us <= now_us:
        raise InvalidApiKey(
            f"The API key {key.name!r} has expired. Make a new one with `farebox keys rotate`."
        )
    return key, secret


def attribute(
    inbound: Inbound, key: Key, user: str = "", metadata: dict[str, Any] | None = None
) -> Principal:
    """Who and what a call is for: our headers first, else the body's own fields.

    Raises InvalidRequest for tags that are not ``name=value`` pairs.
    """
    derived = inbound.head.derived
    if not user and not metadata:
        known: Principal | None = derived.get(Principal)
        if known is not None and known.key is key:
            return known
    values = inbound.values
    metadata = metadata or {}
    principal = Principal(
        key=key,
        user=_header(values, b"x-farebox-user") or user[:_MAX_LENGTH],
        workflow=_header(values, b"x-farebox-workflow") or _field(metadata, "workflow"),
        run=_header(values, b"x-farebox-run") or _field(metadata, "run"),
        tags=_tags(values[b"x-farebox-tags"]) if b"x-farebox-tags" in values else (),
    )
    if not user and not metadata:
        derived[Principal] = principal
    return principal


def _header(values: dict[bytes, bytes], name: bytes) -> str:
    value = values.get(name)
    return value.decode("utf-8", "replace")[:_MAX_LENGTH] if value else ""


def _field(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value[:_MAX_LENGTH] if isinstance(value, str) else ""


def _tags(header: bytes) -> tuple[tuple[str, str], ...]:
    pairs = {}
    for part in header.decode("utf-8", "replace").split(","):
        name, separator, value = part.strip().partition("=")
        if not name and not separator:
            continue
        if not name or not separator:
            raise InvalidRequest(
                f"x-farebox-tags: {part.strip()!r} is not a pair; write `name=value,name=value`."
            )
        pairs[name.strip()[:_MAX_LENGTH]] = value.strip()[:_MAX_LENGTH]
    if len(pairs) > _MAX_TAGS:
        raise InvalidRequest(
            f"x-farebox-tags: at most {_MAX_TAGS} tags are taken, not {len(pairs)}."
        )
    return tuple(sorted(pairs.items()))
