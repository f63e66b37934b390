"""What the documents of an answer mean: the part of a scanner that each dialect has of its own.

``DocumentScanner`` and ``EventScanner`` do the rest, the same for all: they pass the bytes on, keep
no more than a bound, find documents in them, count text that no usage covers, and end a stream that
runs past its cap.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from proxy.gateway.dialects.base import Scan

Json = dict[str, Any]
Texts = Iterator[tuple[str, str]]  # (where it stands, text): each place is one run of tokens


class DocumentReader(Protocol):
    """Reads an answer that is one document; made anew for each. Never raises on any JSON."""

    scan: Scan
    # The member that holds the usage, looked for at the end of a document too large to be parsed.
    usage_name: str

    def quickly(self, body: bytes) -> bool:
        """Note what a usual document says, in less time than parsing takes; else nothing, and False."""

    def document(self, document: Json) -> None:
        """Note what the answer says."""

    def spoken(self, document: Json) -> Texts:
        """The output's text."""


class EventReader(Protocol):
    """Reads an answer that comes in events; made anew for each. Never raises on any JSON."""

    scan: Scan

    @property
    def marks(self) -> tuple[bytes, ...]:
        """An event without any of these says nothing but text, and is parsed only where that is counted."""

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says. ``kind`` is the frame's own name for it, "" if it has none."""

    def end(self, kind: str) -> None:
        """Note a frame that carries no object: its kind, else the beginning of what it carries (``[DONE]``)."""

    def said(self, kind: str, document: Json) -> Texts:
        """The output's text in one event."""

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """What ends the client's stream where we cut it, after so many tokens of output.

        ``frame`` is the event with which it ran past its cap, whole, which the client does not get.
        """


class UncutEvents:
    """What readers of pictures and sounds have in common: most hold no text, and none is ever cut."""

    __slots__ = ()

    scan: Scan

    def end(self, kind: str) -> None:
        """Nothing follows ``[DONE]``."""
        if kind == "[DONE]":
            self.scan.finished = True

    def said(self, kind: str, document: Json) -> Texts:
        """Nothing."""
        del kind, document
        return iter(())

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """Nothing: no cap is set for them."""
        del frame, output_tokens
        return b""
