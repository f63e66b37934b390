"""Relay: an upstream's answer on its way to the client, watched by a scanner.

Bytes go on as they come; the next ones are read only when the client took the last, so that a slow
reader slows the upstream down. A metered answer that is not streamed is short and comes at once: it
is read first, so that its cost can be said in its headers.
"""

from collections.abc import Callable
from functools import partial

from proxy.core.call import AttemptRecord, Outcome
from proxy.core.errors import UpstreamFailed, UpstreamTimeout
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.dialects.base import Scanner, Watch, comes_in_events
from proxy.gateway.inbound import Send
from proxy.gateway.meter import TIMEOUT, Meter
from proxy.gateway.ports import Tokenizer
from proxy.gateway.upstreams.base import Headers, UpstreamResponse

_FIRST_ERROR = 400
_MAX_BUFFERED = 1024 * 1024  # bytes of a JSON answer that is read before its head is sent


class Relay:
    """Passes one answer on. ``error`` says afterwards how it broke, if it did."""

    def __init__(
        self,
        call: ActiveCall,
        attempt: Attempt,
        response: UpstreamResponse,
        meter: Meter,
        may_drain: Callable[[ActiveCall], bool],
    ) -> None:
        self.call = call
        self.attempt = attempt
        self.response = response
        self.error = ""
        self._meter = meter
        self._may_drain = may_drain
        self._measured: AttemptRecord | None = None
        self.content_type = _content_type(response)
        self.streamed = call.dialect.streamed(call.facts, self.content_type)
        self.scanner = self._scanner(meter.tokenizer)

    def _scanner(self, tokenizer: Tokenizer) -> Scanner:
        call, attempt = self.call, self.attempt
        cap, model = call.cap.tokens, call.facts.model
        watch = Watch(
            streamed=self.streamed,
            strip_usage=attempt.patch.include_usage,
            output_cap=None if cap is None else cap * call.facts.choices,
            paid_output=call.paid_output,
            count=tokenizer.counter(model),
            ready=partial(tokenizer.ready, model),
            status=self.response.status,
            content_type=self.content_type,
            headers=self.response.headers,
        )
        return call.dialect.scanner(call.facts, watch)

    async def run(self, send: Send) -> None:
        """Relay to the end, or until the client's leaving or the upstream's failing ends it."""
        try:
            if self.call.metered and not self.streamed:
                await self._whole(send)
            else:
                await self._start(send)
                await self._stream(send)
        except UpstreamFailed as failure:
            self._broke(failure)
            if not self.call.answering:
                raise
            # What the scanner held back, the client would have had without us.
            if (rest := self.scanner.finish()) and not self.call.inbound.gone:
                await _send_part(send, rest)
        finally:
            await self.response.aclose()

    async def measured(self) -> AttemptRecord:
        """The attempt's row."""
        if self._measured is None:
            self._measured = await self._meter.measure(
                self.call, self.attempt, self.scanner, self.call.given_up or self.error
            )
        return self._measured

    async def _whole(self, send: Send) -> None:
        parts = []
        size = 0
        while data := await self.response.read():
            parts.append(self.scanner.feed(data))
            size += len(data)
            if size > _MAX_BUFFERED:
                await self._start(send)
                await _send_part(send, b"".join(parts))
                await self._stream(send)
                return
        parts.append(self.scanner.finish())
        self._judge()
        # Counting a long prompt suspends; it must not be cut short by a client that leaves.
        self.call.interruptible = False
        attempt = await self.measured()
        extra = answers.cost_headers(self.call.attempts, attempt)
        await self._start(send, known=True, extra=extra)
        await self._send_last(send, b"".join(parts))

    async def _start(
        self, send: Send, *, known: bool = False, extra: Headers | None = None
    ) -> None:
        call = self.call
        call.status = self.response.status
        call.first_byte = self.attempt.first_byte
        # A scanner may take documents out of a stream: then its length is not the upstream's.
        keep_length = known or not (call.metered and self.streamed and self._has_documents())
        headers = answers.relayed_headers(call, self.response.headers, keep_length=keep_length)
        if extra:
            headers += extra
        call.answering = True
        await send({"type": "http.response.start", "status": call.status, "headers": headers})

    def _has_documents(self) -> bool:
        return comes_in_events(self.content_type) or self.content_type == "application/json"

    async def _stream(self, send: Send) -> None:
        scanner, inbound = self.scanner, self.call.inbound
        while data := await self.response.read():
            out = scanner.feed(data)
            if out and not inbound.gone:
                await _send_part(send, out)
            if scanner.cut:
                await self._after_cut(send)
                return
        rest = scanner.finish()
        self.call.interruptible = False
        self._judge()
        if not inbound.gone:
            await self._send_last(send, rest)

    async def _after_cut(self, send: Send) -> None:
        """End the client's answer here; read on where the provider bills what it goes on to generate."""
        if not self.call.inbound.gone:
            await self._send_last(send, b"")
        if self._may_drain(self.call):
            while data := await self.response.read():
                self.scanner.feed(data)
        self.call.interruptible = False
        self.scanner.finish()

    async def _send_last(self, send: Send, body: bytes) -> None:
        # Said first: once the answer is complete, some servers report its end as the client leaving.
        self.call.inbound.finished = True
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _judge(self) -> None:
        """An error inside an answer of status 200 is a failure that nothing else shows."""
        if self.response.status < _FIRST_ERROR and self.scanner.scan.error:
            self.call.outcome = Outcome.UPSTREAM_FAILED

    def _broke(self, failure: UpstreamFailed) -> None:
        self.error = TIMEOUT if isinstance(failure, UpstreamTimeout) else "truncated"
        if not self.call.inbound.finished:
            self.call.outcome = Outcome.UPSTREAM_FAILED


def _content_type(response: UpstreamResponse) -> str:
    for name, value in response.headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower().decode("latin-1")
    return ""


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
