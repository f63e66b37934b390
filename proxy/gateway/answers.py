"""Answers that Farebox gives itself, and the headers that it adds to an upstream's."""

from collections.abc import Sequence

from proxy.core.call import AttemptRecord
from proxy.core.errors import Refusal
from proxy.core.money import usd
from proxy.gateway.active import ActiveCall
from proxy.gateway.dialects.base import Dialect
from proxy.gateway.inbound import Send
from proxy.gateway.upstreams.base import Headers


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """One whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, status: int, body: bytes, extra: Headers | None = None) -> None:
    """One whole JSON answer."""
    await answer(send, status, [(b"content-type", b"application/json"), *(extra or [])], body)


async def refuse(send: Send, dialect: Dialect, refusal: Refusal, call_id: str) -> None:
    """A refusal in the shape of the dialect that was called."""
    extra = [(name.encode(), value.encode()) for name, value in refusal.headers]
    extra.append((b"x-farebox-call-id", call_id.encode()))
    await answer_json(send, refusal.status, dialect.error_body(refusal), extra)


def relayed_headers(call: ActiveCall, upstream: Headers, *, keep_length: bool) -> Headers:
    """The upstream's own headers, and ours. No upstream can pretend to be us."""
    if b"\nx-farebox-" in b"\n".join((b"", *dict(upstream))):
        upstream = [header for header in upstream if not header[0].startswith(b"x-farebox-")]
    if keep_length:
        headers = upstream.copy()
    else:
        headers = [header for header in upstream if header[0] != b"content-length"]
    headers.append((b"x-farebox-call-id", call.id.encode()))
    if call.cap.tokens is not None:
        headers.append((b"x-farebox-output-cap", call.cap.header.encode()))
    return headers


def cost_headers(earlier: Sequence[AttemptRecord], last: AttemptRecord) -> Headers:
    """What a call with these attempts cost, where that is known before the body."""
    cost_nano, usage = last.cost_nano, last.usage
    for attempt in earlier:
        cost_nano += attempt.cost_nano
        usage += attempt.usage
    return [
        (b"x-farebox-cost-usd", usd(cost_nano).encode()),
        (b"x-farebox-input-tokens", str(usage.input_tokens).encode()),
        (b"x-farebox-output-tokens", str(usage.output_tokens).encode()),
    ]
