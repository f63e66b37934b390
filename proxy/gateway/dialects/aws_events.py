"""AWS's binary event stream (``application/vnd.amazon.eventstream``): its framing, both ways.

A message is its length, the length of its headers, a checksum of both; headers; a payload; a checksum
of all. What does not add up is not read, and goes to the client all the same.
"""

import base64
import binascii
import struct
import zlib
from functools import lru_cache
from typing import Final

import orjson

from proxy.gateway.dialects import framing
from proxy.gateway.dialects.framing import Frame, Opened
from proxy.gateway.dialects.notes import parse

DAMAGED: Final = "event_damaged"  # a checksum is wrong
EXCEPTION: Final = "exception "  # how the kind of a frame begins that is an error

_PRELUDE = struct.Struct(">III")
_PRELUDE_BYTES: Final = 12
_LEAST: Final = 16  # a message without headers and payload
_CHECKED: Final = 8  # bytes of the prelude that its checksum is of
_CHECKSUM: Final = 4
_MOST_USUAL: Final = 512  # bytes of headers whose reading is remembered
_SHORT = struct.Struct(">H")
# Bytes of a header's value, by its type; of text and bytes, the length stands before them.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class AwsEvents:
    """Splits a stream into messages. ``wrapped``: a payload holds the model's own event, in base64."""

    def __init__(self, *, wrapped: bool = False) -> None:
        self.too_long = False
        self._wrapped = wrapped
        self._held = bytearray()
        self._start = 0  # where in the stream the held bytes begin
        self._skip = 0  # bytes that are left of a message longer than is kept
        self._lost = False  # no message begins where one should

    @property
    def held(self) -> int:
        """The bytes that are kept of a message without an end so far."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that end within these bytes."""
        if self._lost:
            return []
        held = self._held
        held += data
        frames: list[Frame] = []
        while len(held) >= (1 if self._skip else _PRELUDE_BYTES):
            if self._skip:
                self._drop(min(self._skip, len(held)))
                continue
            total, headers, checksum = _PRELUDE.unpack_from(held)
            if zlib.crc32(held[:_CHECKED]) != checksum or total < _LEAST + headers:
                self._lost = True
                frames.append(Frame(self._start, b""))
                held.clear()
                break
            if total > framing.LONGEST_EVENT:
                self.too_long, self._skip = True, total
                continue
            if len(held) < total:
                break
            frames.append(Frame(self._start, bytes(held[:total])))
            self._drop(total)
        return frames

    def finish(self) -> list[Frame]:
        """What has no end is no message."""
        self._held.clear()
        return []

    def _drop(self, size: int) -> None:
        del self._held[:size]
        self._start += size
        if self._skip:
            self._skip -= size

    def split(self, events: bytes) -> list[bytes]:
        """One is kept by itself."""
        return [events]

    def glance(self, data: bytes, marks: tuple[bytes, ...], last: tuple[bytes, ...]) -> None:
        """Checksums, kinds and what is wrapped show only inside."""
        del data, marks, last

    def opened(self, raw: bytes) -> Opened:
        """What a message carries; of one that does not add up, nothing."""
        if not raw or zlib.crc32(memoryview(raw)[:-_CHECKSUM]) != int.from_bytes(
            raw[-_CHECKSUM:], "big"
        ):
            return Opened(DAMAGED, b"")
        end = _PRELUDE_BYTES + int.from_bytes(raw[4:8], "big")
        headers = raw[_PRELUDE_BYTES:end]
        kind, is_event = _kind(headers) if len(headers) <= _MOST_USUAL else _read_kind(headers)
        if not is_event:
            return Opened(kind, b"")
        payload = raw[end:-_CHECKSUM]
        return Opened(kind, _unwrapped(payload) if self._wrapped else payload)


def message(kind: str, payload: bytes) -> bytes:
    """One message of the kind ``event``."""
    headers = b"".join(
        bytes((len(name),)) + name.encode() + bytes((_TEXT,)) + _SHORT.pack(len(value)) + value
        for name, value in (
            (":event-type", kind.encode()),
            (":content-type", b"application/json"),
            (":message-type", b"event"),
        )
    )
    total = _LEAST + len(headers) + len(payload)
    start = struct.pack(">II", total, len(headers))
    body = start + zlib.crc32(start).to_bytes(4, "big") + headers + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def wrapped(event: object) -> bytes:
    """A model's own event, as a message of a stream of these."""
    text = base64.b64encode(orjson.dumps(event)).decode()
    return message("chunk", orjson.dumps({"bytes": text}))


def _unwrapped(payload: bytes) -> bytes:
    inner = (parse(payload) or {}).get("bytes")
    if not isinstance(inner, str):
        return payload
    try:
        return base64.b64decode(inner)
    except (binascii.Error, ValueError):
        return b""


def _read_kind(headers: bytes) -> tuple[str, bool]:
    """The kind of a message by its headers, and whether it is an event."""
    named = _headers(headers)
    kind = named.get(":message-type", "event")
    if kind != "event":
        name = named.get(":exception-type") or named.get(":error-code") or kind
        return EXCEPTION + name, False
    return named.get(":event-type", ""), True


_kind = lru_cache(maxsize=256)(_read_kind)  # a stream has few kinds, and its headers say no more


def _headers(data: bytes) -> dict[str, str]:
    """The headers that are text; none after one that can't be read."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        if at >= len(data):
            break
        kind = data[at]
        at += 1
        if kind in (_BYTES, _TEXT):
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            break
        if kind == _TEXT:
            found[name.decode("utf-8", "replace")] = data[at : at + size].decode("utf-8", "replace")
        at += size
    return found
