"""One event of a stream, and what can be wrong, or rare, with a stream's bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from proxy.simulator.controls import Malformation
from proxy.simulator.errors import SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Event:
    """The bytes of one event, and how many tokens were generated for it."""

    data: bytes
    tokens: int = 0


ENDS_EARLY: Final = frozenset({Malformation.ERROR, Malformation.HALF_UTF8, Malformation.TRUNCATED})


def spoil(
    fault: Malformation | None, events: Iterator[Event], *, head: bytes, tokens: int
) -> Iterator[Event]:
    """The events with this fault in them. ``head`` is how an event begins; ``tokens`` are all there are."""
    if fault is Malformation.ERROR:
        return _broken_off(events, tokens // 2)
    break_in = _BREAKS.get(fault) if fault else None
    return events if break_in is None else break_in(events, head)


def dress(fault: Malformation | None, event: Event) -> Event:
    """The event in another notation, which is as good as the usual one."""
    if fault is Malformation.CRLF:
        return Event(event.data.replace(b"\n", b"\r\n"), event.tokens)
    if fault is Malformation.NO_SPACE:
        return Event(event.data.replace(b"data: ", b"data:", 1), event.tokens)
    if fault is Malformation.COMMENTS:
        return Event(b": simulated\n\n" + event.data, event.tokens)
    return event


def _broken_off(events: Iterator[Event], tokens: int) -> Iterator[Event]:
    """So many tokens, then an error; nothing more is generated."""
    for event in events:
        yield event
        tokens -= event.tokens
        if tokens <= 0:
            break
    yield Event(b"data: %b\n\n" % orjson.dumps(SERVER_ERROR))


def _with_bad_json(events: Iterator[Event], head: bytes) -> Iterator[Event]:
    yield next(events)
    yield Event(head[: len(head) // 2] + b"\n\n")
    yield from events


def _with_half_utf8(events: Iterator[Event], head: bytes) -> Iterator[Event]:
    yield from events
    yield Event(head + b'{"index":0,"delta":{"content":" caf\xc3')


def _with_truncation(events: Iterator[Event], head: bytes) -> Iterator[Event]:
    yield from events
    yield Event(head)


_BREAKS: Final[dict[Malformation, Callable[[Iterator[Event], bytes], Iterator[Event]]]] = {
    Malformation.BAD_JSON: _with_bad_json,
    Malformation.HALF_UTF8: _with_half_utf8,
    Malformation.TRUNCATED: _with_truncation,
}
