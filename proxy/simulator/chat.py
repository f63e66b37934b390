"""Answering a chat completion: streamed or not, at the pace asked for, and billed for what was generated."""

import asyncio
from collections.abc import Iterator
from typing import Final

from proxy.simulator.completion import Completion
from proxy.simulator.controls import Billing, Malformation
from proxy.simulator.exchange import ClientLeft, Exchange, Headers
from proxy.simulator.faults import Event
from proxy.simulator.invoice import Charge, Outcome, Ticket
from proxy.simulator.request import ChatRequest
from proxy.simulator.wire import EventStream, whole

_BATCH_BYTES: Final = (
    16_384  # where no pace is asked for, events go out together in pieces of this size
)
_OK: Final = 200


class ChatAnswer:
    """One answer on its way. The line in the invoice is written before the answer's last bytes."""

    def __init__(
        self,
        exchange: Exchange,
        ticket: Ticket,
        request: ChatRequest,
        completion: Completion,
        billing: Billing,
    ) -> None:
        self._exchange = exchange
        self._ticket = ticket
        self._request = request
        self._completion = completion
        self._controls = request.controls
        self._billing = request.controls.bill_on_leave or billing
        self._generated = 0  # tokens

    async def send(self, headers: Headers) -> None:
        """Send it. Raises ClientLeft, once that is in the invoice."""
        try:
            await self._exchange.pause(self._controls.first_byte_ms)
            if self._request.stream:
                await self._stream(headers)
            else:
                await self._whole(headers)
        except ClientLeft:
            self._bill(Outcome.CLIENT_LEFT)
            raise
        except asyncio.CancelledError:  # the server has to stop
            self._bill(Outcome.DIED)
            raise

    # Not streamed...

    async def _whole(self, headers: Headers) -> None:
        body = whole(self._request, self._completion)
        headers = [(b"content-type", b"application/json"), *headers]
        if self._controls.malformed is Malformation.ERROR:
            self._ticket.write(_OK, Outcome.ERROR)
            await self._exchange.answer(_OK, headers, body)
            return
        if self._controls.die_after_events is None:
            self._bill(Outcome.COMPLETED)
            await self._exchange.answer(_OK, headers, body)
            return
        self._bill(Outcome.DIED)
        await self._exchange.start(_OK, [*headers, (b"content-length", b"%d" % len(body))])
        await self._exchange.write(body[: len(body) // 2])
        await self._exchange.die(self._controls.die)

    # Streamed...

    async def _stream(self, headers: Headers) -> None:
        exchange, controls = self._exchange, self._controls
        await exchange.start(
            _OK, [(b"content-type", b"text/event-stream; charset=utf-8"), *headers]
        )
        each = bool(controls.event_ms) or controls.split == "event"
        batch: list[Event] = []
        size = 0
        for number, event in enumerate(self._events()):
            if number in (controls.die_after_events, controls.stall_after_events):
                await self._flush(batch)
                await self._interrupt(number)
                if number == controls.die_after_events:
                    return
            if number:
                await exchange.pause(controls.event_ms)
            batch.append(event)
            size += len(event.data)
            if each or size >= _BATCH_BYTES:
                await self._flush(batch)
                size = 0
        await self._flush(batch)
        await exchange.finish()

    def _events(self) -> Iterator[Event]:
        stream = EventStream(self._request, self._completion)
        yield from self._counted(stream.body())
        self._bill(Outcome.COMPLETED)
        yield from stream.tail()

    def _counted(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            yield event
            self._generated += event.tokens

    async def _flush(self, batch: list[Event]) -> None:
        if not batch:
            return
        await self._exchange.write(b"".join([event.data for event in batch]))
        batch.clear()
        # A long answer must not keep others, or the news of a leaving, waiting.
        await asyncio.sleep(0)

    async def _interrupt(self, number: int) -> None:
        if number == self._controls.die_after_events:
            self._bill(Outcome.DIED)
            await self._exchange.die(self._controls.die)
        else:
            await self._exchange.pause(self._controls.stall_ms)

    # The bill...

    def _bill(self, outcome: Outcome) -> None:
        answer = self._completion
        tokens = self._generated
        if not self._request.stream or (
            outcome is Outcome.CLIENT_LEFT and self._billing is Billing.FULL
        ):
            tokens = answer.tokens
        rate = self._request.model.rates[self._request.model.tier(answer.tier)]
        charge = Charge(
            completion_id=answer.id,
            model=answer.model,
            tier=answer.tier,
            stream=self._request.stream,
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=answer.cached_tokens,
            completion_tokens=tokens,
            reasoning_tokens=min(answer.reasoning, tokens),
            cost_nano=rate.nano(
                prompt=answer.prompt_tokens, cached=answer.cached_tokens, completion=tokens
            ),
        )
        answered = self._exchange.started or outcome is Outcome.COMPLETED
        self._ticket.write(_OK if answered else 0, outcome, charge)
