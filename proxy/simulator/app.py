"""The simulated provider as an ASGI application: routes, keys, and the invoice of what it answered."""

import re
import secrets
import time
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote_to_bytes

import orjson

from proxy.simulator import catalogue, errors
from proxy.simulator.catalogue import Model
from proxy.simulator.chat import ChatAnswer
from proxy.simulator.completion import compose
from proxy.simulator.controls import Billing, Controls
from proxy.simulator.embeddings import embed
from proxy.simulator.exchange import ClientLeft, Exchange, Receive, Scope, Send
from proxy.simulator.invoice import Charge, Invoice, Outcome, Ticket
from proxy.simulator.other_endpoints import OtherEndpoints
from proxy.simulator.passthrough import Receipt, download
from proxy.simulator.request import controls_of, read_asked, read_chat

API_KEY: Final = "sk-simulated"
_JSON: Final = (b"content-type", b"application/json")
_FILE: Final = re.compile(r"/v1/files/(\d{1,15})/content")
_PAGE, _LARGEST_PAGE = 1000, 10_000
_LISTED_BEHAVIOURS: Final = ("sim-default", "sim-no-usage", "sim-status-500", "sim-event-ms-50")


class Simulator:
    """The application. ``invoice`` is what it billed."""

    def __init__(
        self,
        *,
        api_keys: Collection[str] | None,
        invoice: Invoice,
        bill_on_leave: Billing,
        clock: Callable[[], float],
    ) -> None:
        self.invoice = invoice
        self._keys = api_keys
        self._billing = bill_on_leave
        self._clock = clock
        self._instance = secrets.token_hex(6)
        self._serials = count(1)
        self._others = OtherEndpoints(self._misbehaves)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the simulator speaks HTTP, and not {scope['type']}")
        exchange = Exchange(scope, receive, send)
        serial = next(self._serials)
        exchange.request_id = f"req_{self._instance}{serial:020x}"
        try:
            if exchange.path.startswith("/v1/"):
                await self._provide(exchange, f"{self._instance}{serial:017d}")
            elif exchange.path == "/simulator/invoice":
                await self._show_invoice(exchange)
            else:
                raise errors.unknown_url(exchange.method, exchange.path)
        except errors.Problem as problem:
            await exchange.answer(problem.status, problem.headers, problem.body)
        except ClientLeft:
            await exchange.gone()

    def close(self) -> None:
        """Close the invoice's file."""
        self.invoice.close()

    # The provider...

    async def _provide(self, exchange: Exchange, serial: str) -> None:
        ticket = self.invoice.open(exchange.request_id, self._clock(), exchange.path)
        try:
            self._authenticate(exchange)
            await self._route(exchange, ticket, serial)
        except errors.Problem as problem:
            ticket.write(problem.status, Outcome.ERROR)
            raise errors.Problem(
                problem.status, problem.body, (*problem.headers, *self._headers(ticket))
            ) from problem
        except ClientLeft:
            ticket.write(0, Outcome.CLIENT_LEFT)
            raise

    def _authenticate(self, exchange: Exchange) -> None:
        scheme, _, key = exchange.header(b"authorization").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise errors.no_key()
        if self._keys is not None and key not in self._keys:
            raise errors.wrong_key(key)

    async def _route(self, exchange: Exchange, ticket: Ticket, serial: str) -> None:
        route = (exchange.method, exchange.path)
        if route == ("POST", "/v1/chat/completions"):
            await self._chat(exchange, ticket, serial)
        elif route == ("POST", "/v1/embeddings"):
            await self._embed(exchange, ticket)
        elif self._others.knows(exchange):
            await self._others.answer(exchange, ticket, serial, self._headers(ticket))
        elif exchange.method == "GET" and exchange.path.startswith("/v1/models"):
            await self._models(exchange, ticket)
        else:
            await self._pass_through(exchange, ticket)

    async def _chat(self, exchange: Exchange, ticket: Ticket, serial: str) -> None:
        parsed, model, controls = read_asked(await exchange.body(), ticket)
        if await self._misbehaves(exchange, ticket, controls):
            return
        request = read_chat(parsed, model, controls)
        completion = compose(request, serial, ticket.arrived)
        answer = ChatAnswer(exchange, ticket, request, completion, self._billing)
        await answer.send(self._headers(ticket))

    async def _embed(self, exchange: Exchange, ticket: Ticket) -> None:
        parsed, model, controls = read_asked(await exchange.body(), ticket, embeds=True)
        if await self._misbehaves(exchange, ticket, controls):
            return
        await exchange.pause(controls.first_byte_ms)
        answer, tokens = embed(parsed, model)
        ticket.write(200, Outcome.COMPLETED, _embedding_charge(model, tokens))
        await exchange.answer(200, [_JSON, *self._headers(ticket)], answer)

    async def _models(self, exchange: Exchange, ticket: Ticket) -> None:
        name = exchange.path.removeprefix("/v1/models").removeprefix("/")
        if name:
            model = catalogue.find(name)
            if model is None:
                raise errors.unknown_model(name)
            shown: object = _listed(model)
        else:
            behaviours = (catalogue.simulated(name) for name in _LISTED_BEHAVIOURS)
            shown = {
                "object": "list",
                "data": [_listed(model) for model in (*catalogue.ON_OFFER, *behaviours)],
            }
        body = orjson.dumps(shown, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        await exchange.answer(200, [_JSON, *self._headers(ticket)], body)

    async def _pass_through(self, exchange: Exchange, ticket: Ticket) -> None:
        receipt = Receipt()
        await receipt.take(exchange)
        controls = controls_of(
            receipt.head + unquote_to_bytes(exchange.query.replace(b"+", b" ")), ""
        )
        if await self._misbehaves(exchange, ticket, controls):
            return
        await exchange.pause(controls.first_byte_ms)
        headers = self._headers(ticket)
        ticket.write(200, Outcome.COMPLETED)
        file = _FILE.fullmatch(exchange.path)
        if file and exchange.method == "GET":
            await download(exchange, int(file[1]), headers)
            return
        cookies = [(b"set-cookie", b"first=1; path=/"), (b"set-cookie", b"second=2; path=/")]
        await exchange.answer(200, [_JSON, *headers, *cookies], receipt.describe(exchange))

    async def _misbehaves(self, exchange: Exchange, ticket: Ticket, controls: Controls) -> bool:
        """Whether the request ended here; one that is to fail raises Problem. Such requests cost nothing."""
        exchange.steer(controls)
        if controls.die_before_answer:
            await exchange.pause(controls.first_byte_ms)
            ticket.write(0, Outcome.DIED)
            await exchange.die(controls.die)
            return True
        if controls.status is not None:
            await exchange.pause(controls.first_byte_ms)
            raise errors.on_demand(
                controls.status, code=controls.error_code, retry_after=controls.retry_after
            )
        return False

    def _headers(self, ticket: Ticket) -> list[tuple[bytes, bytes]]:
        spent_ms = max(int((self._clock() - ticket.arrived) * 1000), 0)
        return [
            (b"openai-organization", b"simulated"),
            (b"openai-processing-ms", b"%d" % spent_ms),
            (b"openai-version", b"2020-10-01"),
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-limit-tokens", b"30000000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
            (b"x-ratelimit-remaining-tokens", b"29999999"),
            (b"x-ratelimit-reset-requests", b"6ms"),
            (b"x-ratelimit-reset-tokens", b"0s"),
        ]

    # Its invoice...

    async def _show_invoice(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            self.invoice.clear()
            await exchange.answer(200, [_JSON], b'{"deleted":true}\n')
            return
        asked = parse_qs(exchange.query.decode("latin-1"))
        try:
            since, limit = (
                int(asked.get(k, [d])[0]) for k, d in (("since", "0"), ("limit", _PAGE))
            )
        except ValueError:
            raise errors.invalid("`since` and `limit` are integers") from None
        page = self.invoice.page(since, min(max(limit, 1), _LARGEST_PAGE))
        await exchange.answer(200, [_JSON], orjson.dumps(page, option=orjson.OPT_APPEND_NEWLINE))


def create_app(
    *,
    api_keys: Collection[str] | None = (API_KEY,),
    invoice_file: Path | None = None,
    bill_on_leave: Billing = Billing.GENERATED,
    clock: Callable[[], float] = time.time,
) -> Simulator:
    """A simulated provider with an empty invoice. ``api_keys`` None takes any key; ``clock`` gives seconds."""
    return Simulator(
        api_keys=api_keys,
        invoice=Invoice(invoice_file),
        bill_on_leave=bill_on_leave,
        clock=clock,
    )


def _embedding_charge(model: Model, tokens: int) -> Charge:
    cost = model.rates["default"].nano(prompt=tokens, cached=0, completion=0)
    return Charge(model=model.served, tier="default", prompt_tokens=tokens, cost_nano=cost)


def _listed(model: Model) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "simulator"}
