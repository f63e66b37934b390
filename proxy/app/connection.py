"""The server's end of a client's connection: uvicorn's, with a bound on the head of a request.

Without one, a head that never ends is kept in memory for as long as a client likes to send it. The
data path refuses a head over ``limits.max_header_bytes`` once it is whole and its key is known, so
that the refusal is in the ledger; here it is only kept from growing without end.
"""

import asyncio
import socket
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.app.cycle import Cycle
from proxy.core.errors import HeadTooLarge, InvalidRequest, Refusal
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.inbound import Scope

LONGEST_TARGET: Final = 32 * 1024  # bytes of path and query; the parser counts in 16 bits
_BETWEEN: Final = -1  # no head is being read
_MOST_WAITING: Final = (
    65_536  # bytes of a request's body that nobody received yet: then reading pauses
)
_LINGER_S: Final = 2.0
_FRAMING: Final = (b"content-length", b"transfer-encoding")


class Connection(HttpToolsProtocol):
    """One connection. What is no HTTP is answered in OpenAI's shape, and ends the connection."""

    def __init__(self, *args: Any, max_head_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_head_bytes = max_head_bytes
        self._head_bytes = _BETWEEN
        self._resuming = False  # the head being read is not the client's
        self._ended = False  # nothing more is read
        self._problem: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Head and body of an answer are two writes: the second must not wait for an ACK."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Read on, but not a head without end."""
        if self._ended:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._end(self._problem or InvalidRequest("This is no HTTP/1.1 request."))
        if self._head_bytes == _BETWEEN:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._max_head_bytes:
            most = self._max_head_bytes
            self._end(HeadTooLarge(f"The request's headers are longer than {most} bytes."))

    # What the parser finds

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_bytes = 0

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
        if self._resuming:
            self._resuming = False
            return
        scope, version = cast("Scope", self.scope), self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        target = httptools.parse_url(self.url)
        path = target.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = target.path
        scope["query_string"] = target.query or b""
        before = cast("Cycle | None", self.cycle)
        self.cycle = Cycle(  # type: ignore[assignment] # uvicorn's own, but for what it does not use
            self,  # type: ignore[arg-type]
            scope,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expect_100_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # the client did not wait for the answer to its last request
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A part of the request's body."""
        if not self.cycle.response_complete and self._cycle.add(body) > _MOST_WAITING:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self.cycle.response_complete:
            self._cycle.end_of_body()

    @property
    def _cycle(self) -> Cycle:
        return cast("Cycle", self.cycle)

    # What is not as usual

    def _stay(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 where another protocol was offered, as Java's client does by default.

        The parser has stopped at the body: a new one reads it, after a head that says how long it is.
        """
        framing = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] in _FRAMING]
        self.cycle.more_body = True
        self._resuming = True
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n", rest]))

    def _end(self, problem: Refusal) -> None:
        """Read no more: say why, unless requests are under way, which are answered first.

        Closing while a client sends would reset the connection, and it might not see the answer: so
        what it sends is read, and dropped, for a moment.
        """
        self._ended = True
        self._head_bytes = _BETWEEN
        cycle = cast("Cycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False  # the connection ends with its answer
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_answer(problem))
        self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(
            _LINGER_S, self.timeout_keep_alive_handler
        )


def _answer(problem: Refusal) -> bytes:
    body = openai_error(problem)
    reason = {431: "Request Header Fields Too Large"}.get(problem.status, "Bad Request")
    head = (
        f"HTTP/1.1 {problem.status} {reason}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
