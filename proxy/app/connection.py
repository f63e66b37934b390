"""The server's end of a client's connection: uvicorn's, with a bound on the head of a request.

Without one, a head that never ends is kept in memory for as long as a client likes to send it. The
data path refuses a head over ``limits.max_header_bytes`` once it is whole and its key is known, so
that the refusal is in the ledger; here it is only kept from growing without end.
"""

import asyncio
import socket
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.core.errors import HeadTooLarge, InvalidRequest, Refusal
from proxy.gateway.dialects.errors import openai_error

LONGEST_TARGET: Final = 32 * 1024  # bytes of path and query; the parser counts in 16 bits
_BETWEEN: Final = -1  # no head is being read


class Connection(HttpToolsProtocol):
    """One connection. What is no HTTP is answered in OpenAI's shape, and ends the connection."""

    def __init__(self, *args: Any, max_head_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_head_bytes = max_head_bytes
        self._head_bytes = _BETWEEN
        self._problem: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Head and body of an answer are two writes: the second must not wait for an ACK."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Read on, but not a head without end."""
        super().data_received(data)
        if self._head_bytes == _BETWEEN:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._max_head_bytes:
            self._problem = HeadTooLarge(
                f"The request's headers are longer than {self._max_head_bytes} bytes."
            )
            self.send_400_response("")

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
            raise ValueError  # ends the parsing; the answer is ``send_400_response``

    def on_headers_complete(self) -> None:
        """The head is whole: from here on the application bounds what is read."""
        self._head_bytes = _BETWEEN
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong and close; within an answer that is under way nothing can be said."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            problem = self._problem or InvalidRequest(f"{msg} This is no HTTP/1.1 request.")
            self.transport.write(_answer(problem))
        self.transport.close()


def _answer(refusal: Refusal) -> bytes:
    body = openai_error(refusal)
    reason = {431: "Request Header Fields Too Large"}.get(refusal.status, "Bad Request")
    head = (
        f"HTTP/1.1 {refusal.status} {reason}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
