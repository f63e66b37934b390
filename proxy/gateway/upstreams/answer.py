"""An answer in HTTP/1.1 as it is being received, without any I/O: bytes in, head and body out.

The head is found here and parsed by httptools (llhttp, strict). Bodies of known length and those
that end with the connection pass through untouched; chunked ones go through httptools.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.gateway.upstreams.base import Headers
from proxy.gateway.upstreams.heads import AnswerHead, malformed, read_answer_head, read_usual_head

_SWITCHING_PROTOCOLS, _FINAL = 101, 200
_BODYLESS = (204, 304)
_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_ONE = ord("1")

# For the parser of a body whose head was read without it.
_CHUNKS_FOLLOW: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

# What the next byte belongs to.
_HEAD: Final = 0
_LENGTH: Final = 1
_CHUNKED: Final = 2
_TO_THE_END: Final = 3


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How long a head may be; the bytes hold for each interim answer, and for trailers, too."""

    max_bytes: int = 65_536
    max_headers: int = 256


class Answer:
    """One answer. ``status`` is 0 until its head is there; ``chunks`` is taken away by the reader.

    Where ``over`` is set the last byte has come, and ``keep_alive`` says whether the connection may
    carry another exchange.
    """

    __slots__ = (
        "_framing",
        "_head_only",
        "_limits",
        "_message_over",
        "_parser",
        "_partial",
        "_raw",
        "_read",
        "_remaining",
        "_silent",
        "chunks",
        "headers",
        "keep_alive",
        "on_body",
        "over",
        "status",
    )

    def __init__(self, limits: HeadLimits, *, head_only: bool) -> None:
        self._limits = limits
        self._head_only = head_only
        self.status = 0
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.over = False
        self.keep_alive = False
        # Called by httptools for each piece of a chunked body: no function of ours in between.
        self.on_body: Callable[[bytes], None] = self.chunks.append
        self._framing = _HEAD
        self._partial: bytearray | None = None
        self._parser: HttpResponseParser | None = None
        self._raw: Headers = []
        self._message_over = False
        self._remaining = 0
        self._silent = 0

    _read: AnswerHead  # once the head is there

    def feed(self, data: bytes) -> bool:
        """Take bytes as they came, never empty ones; whether there is news: head, body or end.

        Raises UpstreamFailed where this is not an answer, or its end is in doubt. Must not be
        called again after that, nor once it is over.
        """
        framing = self._framing
        if framing == _CHUNKED:
            return self._feed_chunked(data)
        if framing == _LENGTH:
            self._feed_length(data)
            return True
        if framing == _HEAD:
            return self._feed_head(data)
        self.chunks.append(data)
        return True

    def take(self) -> bytes:
        """What has come of the body since the last time; b"" where nothing has."""
        chunks = self.chunks
        if len(chunks) == 1:
            return chunks.pop()
        data = b"".join(chunks)
        chunks.clear()
        return data

    def feed_eof(self) -> bool:
        """The upstream closed the connection; whether that was the end of the body."""
        if self._framing == _TO_THE_END:
            self.over = True
            self.keep_alive = False
        return self.over

    # The head...

    def _feed_head(self, data: bytes) -> bool:
        start = 0
        partial = self._partial
        if partial is not None:
            start = max(len(partial) - 3, 0)
            partial += data
            if partial.find(b"\r\n\r\n", start) < 0:
                self._check_partial(partial)
                return False
            data, self._partial = bytes(partial), None
        while True:
            end = data.find(b"\r\n\r\n", start)
            if end < 0:
                self._partial = bytearray(data)
                self._check_partial(self._partial)
                return False
            status = self._parse_head(data[: end + 4])
            data = data[end + 4 :]
            if status >= _FINAL:
                break
            if status == _SWITCHING_PROTOCOLS:
                raise malformed("it changes the protocol, which was not asked for")
            start = 0
        self._begin_body(status, data)
        return True

    def _check_partial(self, partial: bytearray) -> None:
        """Refuse early what can't become a head, rather than wait for the rest of it."""
        if len(partial) > self._limits.max_bytes:
            raise malformed(f"its head has more than {self._limits.max_bytes} bytes")
        if not partial.startswith(b"HTTP/1."[: len(partial)]):
            raise malformed("it does not begin with a status line")
        if b"\n\n" in partial:
            raise malformed("lines end without a carriage return")

    def _parse_head(self, head: bytes) -> int:
        if len(head) > self._limits.max_bytes:
            raise malformed(f"its head has more than {self._limits.max_bytes} bytes")
        usual = read_usual_head(head, self._limits.max_headers)
        if usual is not None:
            self.keep_alive = True
            status, self._read = usual
            if self._read.chunked:
                self._message_over = False  # an interim answer's may have been
                self._parser = HttpResponseParser(self)
                self._parser.feed_data(_CHUNKS_FOLLOW)
            return status
        status = self._parse_carefully(head)
        if status >= _FINAL:
            self._read = read_answer_head(self._raw)
        return status

    def _parse_carefully(self, head: bytes) -> int:
        if not head.startswith(_VERSIONS):
            raise malformed("it does not begin with a status line")
        raw = self._raw = []
        parser = self._parser = HttpResponseParser(self)
        self._message_over = False
        try:
            parser.feed_data(head)
        except HttpParserUpgrade as error:
            raise malformed("it changes the protocol, which was not asked for") from error
        except HttpParserError as error:
            raise malformed(_word(error)) from error
        if len(raw) > self._limits.max_headers:
            raise malformed(f"its head has more than {self._limits.max_headers} headers")
        self.keep_alive = head[7] == _ONE  # the default of the version
        return parser.get_status_code()

    def _begin_body(self, status: int, rest: bytes) -> None:
        head = self._read
        self.headers = head.headers
        if head.chunked and not self.keep_alive:
            raise malformed("transfer-encoding in HTTP/1.0")
        if head.connection:
            self.keep_alive = b"close" not in head.connection and (
                self.keep_alive or b"keep-alive" in head.connection
            )
        self.status = status
        if self._head_only or status in _BODYLESS:
            self._end(leftover=bool(rest))
        elif head.chunked:
            self._framing = _CHUNKED
            self._message_over = False
            if rest:
                self._feed_chunked(rest)
        elif head.length is not None:
            self._framing = _LENGTH
            self._remaining = head.length
            if rest or not head.length:
                self._feed_length(rest)
        else:
            self._framing = _TO_THE_END
            self._parser = None
            if rest:
                self.chunks.append(rest)

    # The body...

    def _feed_length(self, data: bytes) -> None:
        remaining = self._remaining - len(data)
        if remaining > 0:
            self._remaining = remaining
            self.chunks.append(data)
            return
        if self._remaining:
            self.chunks.append(data[: self._remaining] if remaining else data)
        self._end(leftover=remaining < 0)

    def _feed_chunked(self, data: bytes) -> bool:
        chunks = self.chunks
        before = len(chunks)
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr] # set with the head
        except HttpParserError as error:
            if not self._message_over:
                raise malformed(_word(error)) from error
            self._end(leftover=True)
            return True
        if self._message_over:
            self._end(leftover=False)
            return True
        if len(chunks) > before:
            self._silent = 0
            return True
        # Sizes, extensions and trailers, but no body: no slow reader would ever hold that back.
        self._silent += len(data)
        if self._silent > self._limits.max_bytes:
            raise malformed("too much between two chunks")
        return False

    def _end(self, *, leftover: bool) -> None:
        """What comes behind the end was not asked for, and spoils the connection."""
        self.over = True
        self._parser = None
        if leftover:
            self.keep_alive = False

    # Called by httptools...

    def on_message_begin(self) -> None:
        """A second answer behind the first stops the parser."""
        if self._message_over:
            raise ValueError("more after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the head; or a trailer, which nobody looks at."""
        self._raw.append((name, value))

    def on_message_complete(self) -> None:
        """The last chunk and its trailers are there."""
        self._message_over = True


def _word(error: HttpParserError) -> str:
    return str(error) or type(error).__name__
