"""Checks signatures as AWS does (Signature Version 4), by its documentation; not with the signer's code."""

import hashlib
import hmac
import re
from urllib.parse import quote, urlsplit

_PARTS = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request, ?SignedHeaders=(?P<names>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def signature_problem(
    method: str, target: str, headers: dict[str, str], body: bytes, secret: str
) -> str:
    """What is wrong with a request's signature; "" where it is good. ``target`` is as it is on the wire."""
    found = _PARTS.fullmatch(headers.get("authorization", ""))
    if found is None:
        return "no signature"
    names = found["names"].split(";")
    if "host" not in names or "x-amz-date" not in names:
        return "host and date must be signed"
    payload = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    parts = urlsplit(target)
    pairs = sorted(p.partition("=")[::2] for p in parts.query.split("&") if p)
    canonical = "\n".join(
        [
            method,
            quote(
                parts.path, safe="/~-_."
            ),  # escaped twice: what is on the wire is escaped already
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            found["names"],
            payload,
        ]
    )
    scope = f"{found['day']}/{found['region']}/{found['service']}/aws4_request"
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for step in (*scope.split("/"),):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return "" if expected == found["signature"] else f"the signature is not of\n{canonical}"
