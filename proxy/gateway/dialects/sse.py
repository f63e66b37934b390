"""Server-sent events: where one ends and what it carries. Bytes in, bytes out; nothing is rewritten.

A line ends with LF, CR LF or CR; an event ends with an empty line. The same text in other pieces
gives the same events.
"""

import re
from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


def boundary(text: bytes) -> int:
    """The length of the leading part that holds whole events; 0 where there is none."""
    end = text.rfind(b"\n\n") + 2
    if b"\r" not in text:
        return end if end > 1 else 0
    for mark in (b"\n\r", b"\r\r"):
        at = text.rfind(mark) + 2
        if at > 1 and text[at : at + 1] == b"\n":
            at += 1
        end = max(end, at)
    return end if end > 1 else 0


def first_boundary(text: bytes, start: int = 0) -> int:
    """Where the event that begins at ``start`` ends; 0 where it does not."""
    match = _EMPTY_LINE.search(text, start)
    return match.end() if match else 0


def events(text: bytes) -> Iterator[bytes]:
    """The raw events of a text, each with the empty line that ends it; joined, they are the text.

    What follows the last whole event comes last.
    """
    if b"\r" not in text:
        *whole, rest = text.split(b"\n\n")
        for event in whole:
            yield event + b"\n\n"
        if rest:
            yield rest
        return
    start = 0
    while end := first_boundary(text, start):
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def lines(event: bytes) -> list[bytes]:
    """The lines of an event, line ends and a byte order mark taken off."""
    if b"\r" in event:
        event = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return event.removeprefix(_BOM).split(b"\n")


def payload(event: bytes) -> bytes:
    """What the event carries: its data lines, joined by LF. Comments and other fields are left out."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]  # one line, as nearly always
    data = [line[5:] for line in lines(event) if line.startswith(b"data:")]
    if len(data) == 1:
        return data[0].removeprefix(b" ")
    return b"\n".join([line.removeprefix(b" ") for line in data])
