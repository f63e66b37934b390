"""The server's end of a client's connection: uvicorn's, with bounds, and short ways for what is usual.

Without a bound, a head that never ends is kept in memory for as long as a client likes to send it, and
one that trickles in holds its connection. The data path refuses a head over
``limits.max_header_bytes`` once it is whole and its key is known, so that the refusal is in the
ledger; here it is only kept from growing without end.
"""

import asyncio
import socket
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.app.cycle import Cycle
from proxy.app.patience import NEVER, Patience
from proxy.app.repeats import KnownHead, known_head
from proxy.core.errors import HeadTooLarge, InvalidRequest, Refusal, RequestTimeout
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.inbound import EXCHANGE, Head, Scope
from proxy.gateway.realtime.door import is_realtime

LONGEST_TARGET: Final = 32 * 1024  # bytes of path and query; the parser counts in 16 bits
_BETWEEN: Final = -1  # no head is being read
_MOST_WAITING: Final = (
    65_536  # bytes of a request's body that nobody received yet: then reading pauses
)
_LINGER_S: Final = 2.0
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_WORTH_WAITING: Final = 16 * 1024  # bytes of a body that have to come in its time
_MISSES: Final = 8  # other heads in a row, and this client's are not remembered any more


class Connection(HttpToolsProtocol):
    """One connection. What is no HTTP is answered in OpenAI's shape, and ends the connection."""

    def __init__(self, *args: Any, max_head_bytes: int, patience: Patience, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deadline = NEVER
        self._patience = patience
        self._max_head_bytes = max_head_bytes
        self._head_bytes = _BETWEEN
        self._parsing = False  # within a message: its head or body is not complete
        self._resuming = False  # the head being read is not the client's
        self._ended = False  # nothing more is read
        self._socket = False  # the client asks for a websocket, where there is one
        self._problem: Refusal | None = None
        self._known: KnownHead | None = None
        self._misses = 0
        self._missing = 0  # bytes of a body whose head was known
        self._came = 0  # bytes of a body since its time began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Head and body of an answer may be two writes: the second must not wait for an ACK."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.deadline = self.loop.time() + self._patience.keep_alive_s
        self._patience.watch(self, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we closed: who is about to answer it is told."""
        self._patience.forget(self)
        super().connection_lost(exc)
        cycle = self._cycle
        if cycle is not None and cycle.disconnected:
            cycle.leave()
        self._let_go()

    def _let_go(self) -> None:
        """What it has knows it too: in a circle all of it would stay when the connection is gone."""
        self.parser = self.cycle = self.scope = None  # type: ignore[assignment] # as uvicorn's begin
        self._known = None
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Read on: a head that was read before without parsing it, and no head without end."""
        if self._missing:
            self._take_rest(data)
            return
        if not self._parsing and not self._ended:
            cycle = self._cycle
            if cycle is None or cycle.response_complete:
                known = self._known
                if known is not None and (found := known.match(data)) is not None:
                    digits, start = found
                    missing = int(digits) - (len(data) - start)
                    if missing >= 0:  # else there is more than this request
                        self._begin_again(known, digits, data[start:], missing)
                        return
                self._parse_and_learn(data)
                return
        self._parse(data)

    # A head that was read before

    def _begin_again(self, known: KnownHead, digits: bytes, body: bytes, missing: int) -> None:
        cycle = Cycle(self, known.head, digits, True, False)  # type: ignore[arg-type]
        scope = known.scope(digits)
        scope[EXCHANGE] = cycle
        self.cycle = cycle  # type: ignore[assignment] # uvicorn's own, but for what it does not use
        if body:
            cycle.add(body)
        if missing:
            self._missing = missing
            self._expect_body()
        else:
            cycle.more_body = False
            self.deadline = NEVER
        self._start(cycle, scope)

    def _take_rest(self, data: bytes) -> None:
        missing = self._missing - len(data)
        rest = b""
        if missing < 0:
            rest = data[missing:]
            data = data[:missing]
            missing = 0
        self._missing = missing
        self.on_body(data)
        if not missing:
            self.on_message_complete()
        if rest:
            self.data_received(rest)

    def _parse_and_learn(self, data: bytes) -> None:
        before = self._cycle
        self._parse(data)
        cycle = self._cycle
        if cycle is before or cycle is None or self._misses > _MISSES or self._ended:
            return
        self._misses += 1
        if cycle.keep_alive and not self.pipeline:
            # Without what belongs to this request alone.
            scope = {k: v for k, v in cast("Scope", self.scope).items() if k != EXCHANGE}
            self._known = known_head(data, scope, cycle.head)

    # What the parser finds

    def _parse(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._socket:
                self._switch(rest)
            else:
                self._stay(rest)
        except httptools.HttpParserError:
            self._end(self._problem or InvalidRequest("This is no HTTP/1.1 request."))
        if self._head_bytes == _BETWEEN:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._max_head_bytes:
            most = self._max_head_bytes
            self._end(HeadTooLarge(f"The request's headers are longer than {most} bytes."))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_bytes = 0
        self._parsing = True
        self.deadline = self.loop.time() + self._patience.head_s

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        super().on_url(url)
        if len(self.url) > LONGEST_TARGET:
            self._problem = HeadTooLarge(
                f"The request's address is longer than {LONGEST_TARGET} bytes."
            )
            raise ValueError  # ends the parsing

    def on_headers_complete(self) -> None:
        """The head is whole: from here on the application bounds what is read."""
        self._head_bytes = _BETWEEN
        self._expect_body()
        if self._resuming:
            self._resuming = False
            return
        scope, version = cast("Scope", self.scope), self.parser.get_http_version()
        method = scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        target = httptools.parse_url(self.url)
        if self._asks_for_socket(method, target.path):
            self._socket = True
            return
        path = target.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = target.path
        query = scope["query_string"] = target.query or b""
        head = Head(method, target.path, query, self.headers, old=version == "1.0")
        before = self._cycle
        cycle = Cycle(
            self,  # type: ignore[arg-type]
            head,
            head.values.get(b"content-length", b""),
            version != "1.0" and self.parser.should_keep_alive(),
            self.expect_100_continue,
        )
        scope[EXCHANGE] = self.cycle = cycle  # type: ignore[assignment] # see above
        if before is None or before.response_complete:
            self._start(cycle, scope)
        else:  # the client did not wait for the answer to its last request
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, scope))  # type: ignore[arg-type] # see _start

    def on_body(self, body: bytes) -> None:
        """A part of the request's body."""
        self._came += len(body)
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete and cycle.add(body) > _MOST_WAITING:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._parsing = False
        cycle = self._cycle
        if cycle is None:
            return
        self.deadline = NEVER
        if cycle.response_complete:
            self._expect_request()
        else:
            cycle.end_of_body()

    @property
    def _cycle(self) -> Cycle | None:
        return cast("Cycle | None", self.cycle)

    # From request to request

    def _start(self, cycle: Cycle, scope: Scope) -> None:
        task = self.loop.create_task(cycle.run_asgi(self.app, scope))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start(*cast("tuple[Cycle, Scope]", self.pipeline.pop()))
        elif not self._parsing and not self._missing:
            self._expect_request()

    # Time

    def _expect_request(self) -> None:
        self.deadline = self.loop.time() + self._patience.keep_alive_s

    def _expect_body(self) -> None:
        self._came = 0
        self.deadline = self.loop.time() + self._patience.body_s

    def expire(self, now: float) -> None:  # noqa: ARG002 - the protocol's
        """The client took too long with what it was to send."""
        self.deadline = NEVER
        cycle = self._cycle
        if self._head_bytes != _BETWEEN:
            seconds = self._patience.head_s
            self._end(RequestTimeout(f"The request's head took longer than {seconds:g} s."))
        elif not self._parsing and not self._missing:
            self.transport.close()
        elif self._came >= _WORTH_WAITING or self.flow.read_paused:
            self._expect_body()
        elif cycle is None or cycle.response_complete or not cycle.time_out(self._patience.body_s):
            self.transport.close()

    # What is not as usual

    def _stay(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 where another protocol was offered, as Java's client does by default.

        The parser has stopped at the body: a new one reads it, after a head that says how long it is.
        """
        framing = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] in _FRAMING]
        self.cycle.more_body = True
        self._resuming = True
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n", rest]))

    def _asks_for_socket(self, method: str, path: bytes) -> bool:
        cycle = self._cycle
        free = cycle is None or cycle.response_complete
        return (
            free and method == "GET" and is_realtime(path) and self._get_upgrade() == b"websocket"
        )

    def _switch(self, rest: bytes) -> None:
        """From here on the connection is a websocket, which has its own bounds."""
        self._ended = True
        self._patience.forget(self)
        self.handle_websocket_upgrade()
        self._let_go()
        if rest:
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(rest)

    def _end(self, problem: Refusal) -> None:
        """Read no more: say why, unless requests are under way, which are answered first.

        Closing while a client sends would reset the connection, and it might not see the answer: so
        what it sends is read, and dropped, for a moment.
        """
        self._ended = True
        self._head_bytes = _BETWEEN
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False  # the connection ends with its answer
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.set()
            cycle.leave()
        self.transport.write(_answer(problem))
        self.transport.write_eof()
        self._parsing = False
        self.deadline = self.loop.time() + _LINGER_S


def _answer(problem: Refusal) -> bytes:
    body = openai_error(problem)
    reasons = {431: "Request Header Fields Too Large", 408: "Request Timeout"}
    head = (
        f"HTTP/1.1 {problem.status} {reasons.get(problem.status, 'Bad Request')}\r\n"
        f"content-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
