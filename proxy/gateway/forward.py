"""Forward: send a call to its upstreams, in order, until one answers. Each attempt is a row."""

import time
from typing import NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from proxy.core.call import AttemptRecord
from proxy.core.errors import UpstreamFailed, UpstreamTimeout
from proxy.core.trace import trace_of, traceparent_for
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.config import Upstream
from proxy.gateway.credentials import credential, without_key
from proxy.gateway.dialects.base import Patch
from proxy.gateway.dialects.batch_results import ResultFile
from proxy.gateway.dialects.form import Form
from proxy.gateway.form_body import FormDialect
from proxy.gateway.meter import TIMEOUT, Meter, failed_attempt
from proxy.gateway.ports import Ledger
from proxy.gateway.router import Target
from proxy.gateway.upstreams.base import Headers, UpstreamRequest, UpstreamResponse, Written
from proxy.gateway.upstreams.unpacked import PACKED, Unpacked

_OPENAI = "openai"
_PARTIAL = frozenset((b"range", b"if-range"))
_V1 = b"/v1"
_IN_SEGMENT = "@:!$&'()*+,;=~"  # what a segment of a path may hold unescaped
NEXT_ON = frozenset((408, 429, 500, 502, 503, 504, 529))  # worth another upstream, if there is one
_OPTION_REFUSED = frozenset((400, 422))
_MAX_ERROR_BYTES = 256 * 1024
_REQUEST_IDS = (
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"x-amzn-requestid",
    b"mistral-correlation-id",
    b"x-generation-id",
)
# Azure: what provisioned capacity could not take, which is billed by the token.
_AZURE = "azure"
_SERVED = b"x-ms-served-model"
_SPILLED = (b"x-ms-is-spilled-over", b"true")


class Forwarder:
    """Sends attempts. Remembers which upstream and model refuse ``stream_options``."""

    def __init__(self, ledger: Ledger, meter: Meter) -> None:
        self._ledger = ledger
        self._meter = meter
        self._without_usage: set[tuple[str, str]] = set()

    async def forward(self, call: ActiveCall) -> tuple[Attempt, UpstreamResponse]:
        """The attempt that answered, at the head of its answer; those before it are in the call.

        Raises UpstreamFailed where none did.
        """
        targets = call.plan.targets
        for i, target in enumerate(targets):
            last = i + 1 == len(targets) or not call.repeatable
            upstream = call.config.upstreams[target.upstream]
            try:
                attempt, response = await self._send(call, upstream, target)
            except UpstreamFailed as failure:
                if last or call.client_left:
                    failure.was_at(target.upstream)
                    raise
                continue
            if response.status in NEXT_ON and not last:
                await response.aclose()
                record = await self._meter.passed_over(call, attempt)
                call.attempt = None
                call.attempts.append(record)
                continue
            return attempt, response
        raise AssertionError("a plan has at least one target")

    async def _send(
        self, call: ActiveCall, upstream: Upstream, target: Target
    ) -> tuple[Attempt, UpstreamResponse]:
        patch = self._patch(call, upstream, target)
        try:
            attempt, response = await self._send_once(call, upstream, target, patch)
        except UpstreamFailed as failure:
            if not failure.stale or call.client_left or not call.repeatable:
                raise
            # An old connection broke: once more. That is an attempt of its own, in the ledger before
            # it is sent: nobody knows whether the upstream had read the first one.
            attempt, response = await self._send_once(call, upstream, target, patch, fresh=True)
        if not (patch.include_usage and response.status in _OPTION_REFUSED):
            return attempt, response
        return await self._send_without(call, attempt, response, patch)

    async def _send_without(
        self, call: ActiveCall, attempt: Attempt, response: UpstreamResponse, patch: Patch
    ) -> tuple[Attempt, UpstreamResponse]:
        """Perhaps the option that we added is what it refuses: then without it."""
        upstream, target = attempt.upstream, attempt.target
        replayed = await _read_error(response)
        if b"stream_options" not in replayed.seen:
            return attempt, replayed
        await response.aclose()
        self._without_usage.add((upstream.name, target.model))
        call.attempt = None
        call.attempts.append(failed_attempt(attempt, "stream_options_refused"))
        return await self._send_once(call, upstream, target, replace(patch, include_usage=False))

    def _patch(self, call: ActiveCall, upstream: Upstream, target: Target) -> Patch:
        facts = call.facts
        if not call.metered:
            return Patch(model=target.model if target.model != facts.model else None)
        cap = call.cap.tokens
        wants = facts.stream and not facts.wants_usage and upstream.quirks.include_usage
        return Patch(
            model=target.model if target.model != facts.model else None,
            output_cap=cap if cap != facts.output_limit else None,
            cap_parameter=upstream.quirks.cap_parameter or "",
            limit_name=facts.output_limit_name,
            include_usage=wants and (upstream.name, target.model) not in self._without_usage,
        )

    async def _send_once(
        self,
        call: ActiveCall,
        upstream: Upstream,
        target: Target,
        patch: Patch,
        *,
        fresh: bool = False,
    ) -> tuple[Attempt, UpstreamResponse]:
        attempt = Attempt(
            number=len(call.attempts) + 1,
            upstream=upstream,
            target=target,
            patch=patch,
            started_at_us=time.time_ns() // 1000,
            started=time.perf_counter(),
        )
        if attempt.number > 1 and call.hold is not None:
            pending = failed_attempt(attempt, "")
            await self._ledger.attempt(call.hold, call.record((*call.attempts, pending)))
        call.attempt = attempt
        if call.first_sent is None:
            call.first_sent = attempt.started
        try:
            response = await upstream.client.send(_request(call, upstream, patch, fresh=fresh))
        except UpstreamFailed as failure:
            record = await self._failed(call, attempt, failure)
            call.attempt = None
            call.attempts.append(record)
            raise
        attempt.first_byte = time.perf_counter()
        attempt.status = response.status
        attempt.request_id = request_id(response.headers)
        if upstream.provider == _AZURE:
            attempt.spilled = _SPILLED in response.headers
            attempt.served_model = dict(response.headers).get(_SERVED, b"").decode("latin-1")
        if call.metered and PACKED in response.headers:
            response = Unpacked(response)
        return attempt, response

    async def _failed(
        self, call: ActiveCall, attempt: Attempt, failure: UpstreamFailed
    ) -> AttemptRecord:
        if not isinstance(failure, UpstreamTimeout):
            return failed_attempt(attempt, "connection" if failure.sent else "connect")
        if not failure.sent:
            return failed_attempt(attempt, TIMEOUT)
        return await self._meter.unanswered(call, attempt, TIMEOUT)


class _Head(NamedTuple):
    """What of a client's head goes to one upstream: the same for every request with that head."""

    upstream: Upstream
    target: bytes
    headers: Headers
    written: Written


def _request(call: ActiveCall, upstream: Upstream, patch: Patch, *, fresh: bool) -> UpstreamRequest:
    inbound, body = call.inbound, call.body
    method = inbound.head.method_bytes
    if not isinstance(body, bytes):
        target, headers = target_of(call, upstream, patch), head_for(call, upstream)
        if isinstance(body, Form):
            assert isinstance(call.dialect, FormDialect)  # noqa: S101 - it has read the form
            edits = call.dialect.patch_form(body, patch)
            headers.append((b"content-length", b"%d" % body.length(edits)))
            return UpstreamRequest(method, target, headers, body.chunks(edits), fresh)
        if inbound.declared:
            headers.append((b"content-length", inbound.declared))
        return UpstreamRequest(method, target, headers, body, fresh)
    body = call.dialect.patch(body, patch)
    known: _Head | None = inbound.head.derived.get(_Head)
    if known is not None and known.upstream is upstream and not call.secret:
        return UpstreamRequest(method, known.target, known.headers, body, fresh, known.written)
    target, headers = target_of(call, upstream, patch), head_for(call, upstream)
    if upstream.sign is not None:
        return upstream.sign(UpstreamRequest(method, target, headers, body, fresh))
    written = None
    if not call.secret and call.way.model_span is None and not call.config.propagate:
        written = Written()
        inbound.head.derived[_Head] = _Head(upstream, target, headers, written)
    return UpstreamRequest(method, target, headers, body, fresh, written)


def follow_request(call: ActiveCall, attempt: Attempt, path: str) -> UpstreamRequest:
    """The request that asks how something ended that an attempt began: below the attempt's own path."""
    target, question, query = target_of(call, attempt.upstream, attempt.patch).partition(b"?")
    headers = [h for h in head_for(call, attempt.upstream) if h[0] != b"content-type"]
    request = UpstreamRequest(b"GET", target + path.encode() + question + query, headers)
    return attempt.upstream.signed(request)


def _trace_context(call: ActiveCall) -> Headers:
    """What makes the upstream's spans children of this attempt's."""
    shown, number = call.inbound.text(b"traceparent"), len(call.attempts) + 1
    context = [(b"traceparent", traceparent_for(call.id, number, shown).encode())]
    state = call.inbound.values.get(b"tracestate")
    if state is not None and trace_of(call.id, shown).parent_id:
        context.append((b"tracestate", state))
    return context


def target_of(call: ActiveCall, upstream: Upstream, patch: Patch) -> bytes:
    """The client's path and query, below what the upstream's base URL has of them already."""
    way, inbound = call.way, call.inbound
    path = inbound.path
    if patch.model is not None and way.model_span is not None:
        start, end = way.model_span
        path = path[:start] + quote(patch.model, safe=_IN_SEGMENT).encode() + path[end:]
    path = below_base(call, upstream, path)
    query = without_key(inbound.query, way.dialect.family)
    return path + b"?" + query if query else path


def below_base(call: ActiveCall, upstream: Upstream, path: bytes) -> bytes:
    """A client's path, below what the upstream's base URL has of it already."""
    family = call.way.dialect.family
    # Cohere's rerank is served beside OpenAI's paths too, by vLLM and others.
    foreign = upstream.dialect == _OPENAI != family and path.startswith(_V1 + b"/")
    holds = len(_V1) if foreign else call.way.holds
    path = path[holds:]
    if holds and (foreign or family in (_OPENAI, *upstream.also)):
        path = upstream.openai_prefix + path
    return path


def head_for(call: ActiveCall, upstream: Upstream) -> Headers:
    """The headers of a request to the upstream: the client's, its own credential, what is configured."""
    headers = call.inbound.forwarded_headers([*_credential(call, upstream), *upstream.headers])
    if isinstance(call.way.dialect, ResultFile):  # a part of a line can't be metered
        headers = [header for header in headers if header[0] not in _PARTIAL]
    return headers + _trace_context(call) if call.config.propagate else headers


def _credential(call: ActiveCall, upstream: Upstream) -> Headers:
    if call.secret:
        return credential(upstream.credential_header, call.secret)
    return own_credential(upstream, call.way.dialect.family)


def own_credential(upstream: Upstream, family: str) -> Headers:
    """The upstream's own key, where an API of it takes that."""
    if family == _OPENAI and upstream.openai_credential is not None:
        return upstream.openai_credential
    return upstream.credential


def request_id(headers: Headers) -> str:
    """The upstream's own name for a request, by the head of its answer."""
    for name, value in headers:
        if name in _REQUEST_IDS:
            return value.decode("latin-1")
    return ""


async def _read_error(response: UpstreamResponse) -> "_Replayed":
    """An error's body, as far as it is of interest, ready to be read again by the relay."""
    parts = []
    size = 0
    while size < _MAX_ERROR_BYTES and (part := await response.read()):
        parts.append(part)
        size += len(part)
    return _Replayed(response, b"".join(parts))


class _Replayed(UpstreamResponse):
    """An answer of which the beginning was read already."""

    def __init__(self, response: UpstreamResponse, seen: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.seen = seen
        self.over = False
        self._unread = seen
        self._response = response

    @property
    def ready(self) -> bool:
        """Whether ``read`` would not wait."""
        return bool(self._unread) or self._response.ready

    async def read(self) -> bytes:
        """What was read already, then the rest."""
        if self._unread:
            unread, self._unread = self._unread, b""
            return unread
        return await self._response.read()

    async def aclose(self) -> None:
        """Close the answer."""
        await self._response.aclose()
