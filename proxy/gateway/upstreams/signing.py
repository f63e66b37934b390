"""Signs requests for AWS (Signature Version 4), with botocore's own signer.

The client's signature is made with a secret that Farebox does not know, over a host that is not the
upstream's: it never goes on. What is signed anew is the request as it goes out, its path exactly as
it is on the wire.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from proxy.core.errors import ConfigurationError
from proxy.gateway.upstreams.base import UpstreamRequest

_SERVICE: Final = "bedrock"
# The headers that AWS reads are signed; others may be changed on the way.
_SIGNED_PREFIXES: Final = (b"x-amz-", b"x-amzn-")
_CONTENT_TYPE: Final = b"content-type"
_UNSIGNED: Final = (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")

Signer = Callable[[UpstreamRequest], UpstreamRequest]


def aws_signer(
    base_url: str,
    region: str,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None,
) -> Signer:
    """What signs requests below this base URL. Raises ConfigurationError without botocore."""
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra: only who signs needs it
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.credentials import Credentials  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "aws: signing needs botocore, which is not installed; "
            "write `pip install 'farebox[bedrock]'`, or use a Bedrock API key as `api_key`."
        ) from None
    credentials = Credentials(access_key_id, secret_access_key, session_token)
    signer = SigV4Auth(credentials, _SERVICE, region)
    base = base_url.rstrip("/")

    def sign(request: UpstreamRequest) -> UpstreamRequest:
        whole = isinstance(request.body, bytes)
        headers = request.headers if whole else [*request.headers, _UNSIGNED]
        shown = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name == _CONTENT_TYPE or name.startswith(_SIGNED_PREFIXES)
        }
        signed = AWSRequest(
            method=request.method.decode(),
            url=base + request.target.decode("latin-1"),
            data=request.body if whole else b"",
            headers=shown,
        )
        signer.add_auth(signed)
        added = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in signed.headers.items()
            if name not in shown
        ]
        return replace(request, headers=[*headers, *added])

    return sign
