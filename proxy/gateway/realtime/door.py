"""How a session is opened: who asks, where it leads, whether there is money; else a plain HTTP answer."""

import time
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_plus

from websockets.asyncio.client import ClientConnection

from proxy.core.call import Outcome
from proxy.core.errors import InvalidRequest, Refusal, ShuttingDown, UpstreamFailed
from proxy.gateway import answers
from proxy.gateway.active import NOBODY, ActiveCall, Attempt
from proxy.gateway.authenticate import attribute
from proxy.gateway.dialects.base import Patch, RequestFacts
from proxy.gateway.forward import NEXT_ON, below_base, head_for, request_id
from proxy.gateway.inbound import EXCHANGE, HOP_BY_HOP, Head, Inbound, Message, Receive, Scope, Send
from proxy.gateway.meter import failed_attempt
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.realtime.books import RESPONSE, Books
from proxy.gateway.realtime.place import Place
from proxy.gateway.realtime.session import Session
from proxy.gateway.upstreams.base import Headers
from proxy.gateway.upstreams.sockets import Answered

# Where sessions are opened, and how much of the path an upstream's base URL has already.
PATHS: Final = {b"/v1/realtime": 3, b"/openai/v1/realtime": 0, b"/openai/realtime": 0}
STOPPING: Final = "farebox.stopping"  # where the scope has the event of the server's stop
_KEY_IN_PROTOCOL: Final = "openai-insecure-api-key."
_KEY_IN_QUERY: Final = "api-key"
_MODEL_NAMES: Final = ("model", "deployment")
_HANDSHAKE: Final = b"sec-websocket-"
_NOT_RELAYED: Final = HOP_BY_HOP | {b"content-length", b"date"}


class _Asked:
    """What a handshake is to the rest of the data path: a request without a body."""

    declared = b""

    def __init__(self, scope: Scope) -> None:
        self.protocols = [p for p in scope["subprotocols"] if not p.startswith(_KEY_IN_PROTOCOL)]
        headers = [
            (name.lower(), value)
            for name, value in scope["headers"]
            if not name.lower().startswith(_HANDSHAKE)
        ]
        self.query = [part for part in scope["query_string"].split(b"&") if part]
        key = next(iter(_keys(scope, self.query)), "")
        names = {name for name, _ in headers}
        if key and not names & {b"authorization", b"api-key"}:
            headers.append((b"authorization", b"Bearer " + key.encode("latin-1", "replace")))
        self.query = [part for part in self.query if _name(part) != _KEY_IN_QUERY]
        self.head = Head("GET", scope["raw_path"], b"&".join(self.query), headers)

    @property
    def model(self) -> str:
        """The model that the session is asked for; "" where there is none."""
        named = dict(parse_qsl(self.head.query.decode("latin-1")))
        return next((named[name] for name in _MODEL_NAMES if named.get(name)), "")

    def target(self, call: ActiveCall, place: Place) -> bytes:
        """Path and query for an upstream, with its own name for the model."""
        path = below_base(call, place.upstream, self.head.path)
        parts = self.query
        if place.target.model != call.facts.model:
            written = quote(place.target.model, safe="").encode()
            parts = [
                part.partition(b"=")[0] + b"=" + written if _name(part) in _MODEL_NAMES else part
                for part in parts
            ]
        return path + b"?" + b"&".join(parts) if parts else path


class Realtime:
    """The ASGI application of realtime sessions."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One websocket."""
        await receive()  # that it asks to be opened
        asked = _Asked(scope)
        inbound = Inbound({EXCHANGE: asked}, receive)
        way = RESPONSE._replace(holds=PATHS.get(asked.head.path, 0))
        call = ActiveCall(self._pipeline.config, inbound, way)
        self._pipeline.in_flight += 1
        try:
            await self._open(call, asked, scope, receive, send)
        finally:
            self._pipeline.over()

    async def _open(
        self, call: ActiveCall, asked: _Asked, scope: Scope, receive: Receive, send: Send
    ) -> None:
        plain = _plain(send)
        try:
            books = await self._admit(call, asked)
            upstream = await self._connect(call, books, asked)
        except Answered as answered:
            call.status = answered.status
            self._pipeline.settle(call, Outcome.COMPLETED)
            headers = answers.relayed_headers(call, answered.headers, keep_length=False)
            await answers.answer(plain, answered.status, headers, answered.body)
        except Refusal as refusal:
            call.status, call.refusal = refusal.status, refusal.code
            if call.principal is NOBODY:
                self._pipeline.ports.refused(refusal.code, call.endpoint)
            failed = isinstance(refusal, UpstreamFailed)
            self._pipeline.settle(call, Outcome.UPSTREAM_FAILED if failed else Outcome.REFUSED)
            await answers.refuse(plain, call.dialect, refusal, call.id)
        except BaseException:  # it is raised again, once the hold is given back
            self._pipeline.settle(call, Outcome.LOST)
            raise
        else:
            session = Session(books, upstream, receive, send)
            await session.run(_accepted(call, upstream), scope[STOPPING])

    async def _admit(self, call: ActiveCall, asked: _Asked) -> Books:
        """Everything that is decided before the upstream is asked."""
        if self.stopping:
            raise ShuttingDown("Farebox is stopping. Try again in a moment.")
        model = asked.model
        await self._pipeline.identify(call)
        self._pipeline.pacing.admit(call)
        call.inbound.check_head(call.config.limits.max_header_bytes)
        call.principal = attribute(call.inbound, call.principal.key)
        call.facts = RequestFacts(model, stream=True)
        self._pipeline.plan(call)
        if not model and b"intent=transcription" not in asked.query:
            raise InvalidRequest("A session needs a model: /v1/realtime?model=…", param="model")
        upstreams = call.config.upstreams
        places = tuple(
            Place(upstreams[target.upstream], target)
            for target in call.plan.targets
            if upstreams[target.upstream].sockets is not None
        )
        books = Books(self._pipeline, call, places)
        await books.open()
        return books

    async def _connect(self, call: ActiveCall, books: Books, asked: _Asked) -> ClientConnection:
        """The upstream's side of the session, at the first place that opens one."""
        places = books.places
        for place in places:
            last = place is places[-1]
            try:
                upstream = await self._try(call, place, asked)
            except UpstreamFailed:
                if last:
                    raise
            except Answered as answered:
                if last or answered.status not in NEXT_ON:
                    raise
            else:
                books.places = (place,)
                call.attempts.clear()  # handshakes cost nothing; the response is what is sent
                return upstream
        raise AssertionError("a plan has at least one target")

    async def _try(self, call: ActiveCall, place: Place, asked: _Asked) -> ClientConnection:
        upstream, sockets = place.upstream, place.upstream.sockets
        assert sockets is not None  # noqa: S101 - asked before
        now_us, now = time.time_ns() // 1000, time.perf_counter()
        number = len(call.attempts) + 1
        attempt = Attempt(number, upstream, place.target, Patch(), now_us, now)
        try:
            return await sockets.open(
                asked.target(call, place),
                head_for(call, upstream),
                asked.protocols,
                max_message_bytes=call.config.limits.max_body_bytes,
            )
        except Answered as answered:
            attempt.status = answered.status
            attempt.request_id = request_id(answered.headers)
            call.attempts.append(failed_attempt(attempt, f"status_{answered.status}"))
            raise
        except UpstreamFailed:
            call.attempts.append(failed_attempt(attempt, "connect"))
            raise


def _accepted(call: ActiveCall, upstream: ClientConnection) -> Message:
    """The upstream's own answer to the handshake, and our name for the session."""
    response = upstream.response
    said = response.headers.raw_items() if response is not None else ()
    headers: Headers = [(n.lower().encode(), v.encode()) for n, v in said]
    kept = [
        (name, value)
        for name, value in headers
        if name not in _NOT_RELAYED and not name.startswith((_HANDSHAKE, b"x-farebox-"))
    ]
    kept.append((b"x-farebox-call-id", call.id.encode()))
    return {"type": "websocket.accept", "subprotocol": upstream.subprotocol, "headers": kept}


def _plain(send: Send) -> Send:
    """Sends an HTTP answer instead of opening the websocket."""

    async def send_plain(message: Message) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    return send_plain


def _keys(scope: Scope, query: list[bytes]) -> list[str]:
    """The keys that a browser shows, which can set no header."""
    length = len(_KEY_IN_PROTOCOL)
    shown = [p[length:] for p in scope["subprotocols"] if p.startswith(_KEY_IN_PROTOCOL)]
    values = [part.partition(b"=")[2] for part in query if _name(part) == _KEY_IN_QUERY]
    return [*shown, *(unquote_plus(value.decode("latin-1")) for value in values)]


def _name(part: bytes) -> str:
    return unquote_plus(part.partition(b"=")[0].decode("latin-1"))


def is_realtime(path: bytes) -> bool:
    """Whether a websocket to this path is a session."""
    return path in PATHS
