"""Relay: an upstream's answer on its way to the client, watched by a scanner.

Bytes go on as they come; the next ones are read only when the client took the last, so that a slow
reader slows the upstream down. A metered answer that is not streamed is short and comes at once: it
is read first, so that its cost can be said in its headers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from proxy.core.call import AttemptRecord, Outcome
from proxy.core.errors import UpstreamFailed, UpstreamTimeout
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.dialects.base import Scanner, Watch, comes_in_events
from proxy.gateway.meter import TIMEOUT, Meter
from proxy.gateway.ports import Tokenizer
from proxy.gateway.upstreams.base import Headers, UpstreamResponse

_FIRST_ERROR = 400
_FIRST_ODD = 300  # a redirection has no more of a stream than an error has
_JSON = "application/json"
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
        before: "Callable[[Relay], Awaitable[None]] | None" = None,
    ) -> None:
        """``before`` is called with a whole answer before the client gets it."""
        self.call = call
        self.attempt = attempt
        self.response = response
        self.error = ""
        self._meter = meter
        self._may_drain = may_drain
        self._before = before
        self._measured: AttemptRecord | None = None
        self._exchange = call.inbound.exchange
        self.content_type = _content_type(response)
        kind = self.content_type
        if response.status >= _FIRST_ODD and not comes_in_events(kind):
            kind = _JSON  # whatever was asked for
        self.streamed = call.dialect.streamed(call.facts, kind)
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

    async def run(self) -> None:
        """Relay to the end, or until the client's leaving or the upstream's failing ends it."""
        try:
            if not self.streamed and (self.call.metered or self._before is not None):
                await self._whole()
            else:
                self._start()
                await self._stream()
        except UpstreamFailed as failure:
            self._broke(failure)
            if not self.call.answering:
                raise
            # What the scanner held back, the client would have had without us.
            self._exchange.write(self.scanner.finish())
        except asyncio.CancelledError:
            await self._count_what_came()
            raise
        finally:
            if not self.response.over:
                await self.response.aclose()

    async def _count_what_came(self) -> None:
        """Before the upstream is left: what has come is billed, whether anybody took it or not."""
        with contextlib.suppress(UpstreamFailed):  # nothing more came than was counted
            while self.response.ready and not self.scanner.cut:
                if not (data := await self.response.read()):
                    break
                self.scanner.feed(data)

    def measured_now(self) -> AttemptRecord | None:
        """The attempt's row, where nothing has to be counted for it."""
        if self._measured is None:
            error = self.call.given_up or self.error
            self._measured = self._meter.reported(self.call, self.attempt, self.scanner, error)
        return self._measured

    async def measured(self) -> AttemptRecord:
        """The attempt's row."""
        if self._measured is None:
            self._measured = await self._meter.measure(
                self.call, self.attempt, self.scanner, self.call.given_up or self.error
            )
        return self._measured

    async def _whole(self) -> None:
        response, scanner = self.response, self.scanner
        body = await response.read()
        out = scanner.feed(body)
        if not response.over:
            parts = [out]
            size = len(body)
            while body := await response.read():
                parts.append(scanner.feed(body))
                size += len(body)
                if size > _MAX_BUFFERED:
                    self._start()
                    self._exchange.write(b"".join(parts))
                    await self._stream()
                    return
            out = b"".join(parts)
        out += scanner.finish()
        self._judge()
        # Counting a long prompt suspends; it must not be cut short by a client that leaves.
        self.call.interruptible = False
        headers = self._head()
        if self._before is not None:
            await self._before(self)
        elif not scanner.scan.follow:  # else nobody knows yet what it costs
            attempt = self.measured_now() or await self.measured()
            headers += answers.cost_headers(self.call.attempts, attempt)
        if self._exchange.crowded:
            await self._exchange.room()
        self.call.inbound.finished = True
        self._exchange.respond(response.status, headers, out)

    def _head(self, *, keep_length: bool = True) -> Headers:
        call = self.call
        call.status = self.response.status
        call.first_byte = self.attempt.first_byte
        call.answering = True
        return answers.relayed_headers(call, self.response.headers, keep_length=keep_length)

    def _start(self) -> None:
        # A scanner may take documents out of a stream: then its length is not the upstream's.
        keep_length = not (self.call.metered and self.streamed and self._has_documents())
        headers = self._head(keep_length=keep_length)
        self._exchange.start(self.response.status, headers)
        if not self.response.ready:
            self._exchange.flush()

    def _has_documents(self) -> bool:
        if self.call.facts.stream or self.content_type == _JSON:
            return True
        return comes_in_events(self.content_type)

    async def _stream(self) -> None:
        scanner = self.scanner
        while (last := await self.response.pipe(self._pass)) is None:
            if scanner.cut:
                await self._after_cut()
                return
            await self._exchange.room()
        out = scanner.feed(last) if last else b""
        if scanner.cut:
            self._end(out)
            await self._after_cut()
            return
        out += scanner.finish()
        self.call.interruptible = False
        self._judge()
        self._end(out)

    def _pass(self, data: bytes) -> bool:
        """Pass a piece on; whether there may be more. The last one goes out with the end."""
        out = self.scanner.feed(data)
        if self.scanner.cut:
            self._end(out)
            return False
        exchange = self._exchange
        exchange.write(out)
        return not exchange.crowded

    async def _after_cut(self) -> None:
        """The client has its end here; read on where the provider bills what it goes on to generate."""
        if self._may_drain(self.call):
            while data := await self.response.read():
                self.scanner.feed(data)
        self.call.interruptible = False
        self.scanner.finish()

    def _end(self, last: bytes) -> None:
        if not self.call.inbound.gone:
            self.call.inbound.finished = True
            self._exchange.end(last)

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
