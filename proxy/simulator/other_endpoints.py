"""The endpoints beside chats and embeddings: each answers a request, and writes its line of the invoice."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import orjson

from proxy.simulator import media, responses
from proxy.simulator.completion import Completion, compose
from proxy.simulator.controls import Controls
from proxy.simulator.exchange import Exchange
from proxy.simulator.invoice import Charge, Outcome, Ticket
from proxy.simulator.request import (
    ChatRequest,
    parse_object,
    read_asked,
    read_chat,
)

Header = tuple[bytes, bytes]
Misbehaves = Callable[[Exchange, Ticket, Controls], Awaitable[bool]]
_JSON: Final = (b"content-type", b"application/json")
_RESPONSES: Final = "/v1/responses"


class OtherEndpoints:
    """Answers at the paths that it knows."""

    def __init__(self, misbehaves: Misbehaves) -> None:
        self._misbehaves = misbehaves
        self._background = responses.Background()

    def knows(self, exchange: Exchange) -> bool:
        """Whether a request is for one of these."""
        path = exchange.path
        if exchange.method == "GET":
            return path.startswith(f"{_RESPONSES}/resp_")
        return exchange.method == "POST" and (
            path
            in {
                _RESPONSES,
                "/v1/images/generations",
                "/v1/audio/speech",
                "/v1/audio/transcriptions",
                "/v1/moderations",
            }
        )

    async def answer(
        self, exchange: Exchange, ticket: Ticket, serial: str, headers: Iterable[Header]
    ) -> None:
        """Answer one request. Raises Problem."""
        headers = list(headers)
        if exchange.method == "GET":
            found = self._background.retrieve(exchange.path.rpartition("/")[2])
            ticket.write(200, Outcome.COMPLETED)
            await exchange.answer(200, [_JSON, *headers], orjson.dumps(found))
        elif exchange.path == _RESPONSES:
            await self._respond(exchange, ticket, serial, headers)
        else:
            await self._make(exchange, ticket, headers)

    async def _respond(
        self, exchange: Exchange, ticket: Ticket, serial: str, headers: list[Header]
    ) -> None:
        parsed, model, controls = read_asked(await exchange.body(), ticket)
        if await self._misbehaves(exchange, ticket, controls):
            return
        request = read_chat(responses.as_chat(parsed), model, controls)
        completion = compose(request, serial, ticket.arrived)
        await exchange.pause(controls.first_byte_ms)
        if parsed.get("background"):
            shown = self._background.begin(completion, parsed)
            ticket.write(200, Outcome.COMPLETED, _charge(request, completion))
            await exchange.answer(200, [_JSON, *headers], orjson.dumps(shown))
        elif request.stream:
            await self._stream(
                exchange, ticket, request, completion, responses.events(completion, parsed), headers
            )
        else:
            ticket.write(200, Outcome.COMPLETED, _charge(request, completion))
            shown = responses.document(completion, parsed, "completed")
            await exchange.answer(200, [_JSON, *headers], orjson.dumps(shown))

    async def _stream(
        self,
        exchange: Exchange,
        ticket: Ticket,
        request: ChatRequest,
        completion: Completion,
        events: Iterable[bytes],
        headers: list[Header],
    ) -> None:
        kind = (b"content-type", b"text/event-stream; charset=utf-8")
        await exchange.start(200, [kind, *headers])
        *first, last = events
        for event in first:
            await exchange.write(event)
            await exchange.pause(request.controls.event_ms)
        ticket.write(200, Outcome.COMPLETED, _charge(request, completion))
        await exchange.write(last)
        await exchange.finish()

    async def _make(self, exchange: Exchange, ticket: Ticket, headers: list[Header]) -> None:
        body = await exchange.body()
        if exchange.path == "/v1/moderations":
            ticket.write(200, Outcome.COMPLETED)
            await exchange.answer(200, [_JSON, *headers], media.moderate(parse_object(body)))
            return
        if exchange.path == "/v1/audio/transcriptions":
            made = media.hear(body)
        elif exchange.path == "/v1/audio/speech":
            made = media.speak(parse_object(body))
        else:
            made = media.draw(parse_object(body))
        ticket.model_requested = made.model
        charge = Charge(
            model=made.model,
            tier="default",
            prompt_tokens=made.prompt_tokens,
            completion_tokens=made.completion_tokens,
            cost_nano=made.cost_nano,
        )
        ticket.write(200, Outcome.COMPLETED, charge)
        await exchange.answer(200, [(b"content-type", made.content_type), *headers], made.body)


def _charge(request: ChatRequest, completion: Completion) -> Charge:
    rate = request.model.rates[request.model.tier(completion.tier)]
    return Charge(
        completion_id="resp_" + completion.id.removeprefix("chatcmpl-"),
        model=completion.model,
        tier=completion.tier,
        stream=request.stream,
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        completion_tokens=completion.tokens,
        reasoning_tokens=completion.reasoning,
        cost_nano=rate.nano(
            prompt=completion.prompt_tokens,
            cached=completion.cached_tokens,
            completion=completion.tokens,
        ),
    )
