"""W3C trace context: the ids of a call's spans. Pure.

A call's own id has 128 bits in hexadecimal: it is the trace's id where the client brought none. Span ids
are made of the call's id and the attempt's number, so that whoever needs one can make it.
"""

import hashlib
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1


class Trace(NamedTuple):
    """The trace that a call is a part of."""

    trace_id: str  # 32 hex digits
    parent_id: str  # the client's span, 16 hex digits; "" where the trace begins here
    sampled: bool | None  # as the client decided; None: nobody has yet


def trace_of(call_id: str, traceparent: str) -> Trace:
    """The client's trace, or one of the call's own where it showed none that is valid."""
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN or traceparent[:2] == "ff":
        return Trace(call_id.removeprefix("fb-"), "", None)
    return Trace(match[1], match[2], bool(int(match[3], 16) & _SAMPLED))


def span_id(call_id: str, attempt: int = 0) -> str:
    """The id of a call's span, or of one of its attempts', as 16 hex digits."""
    digest = hashlib.blake2b(f"{call_id}/{attempt}".encode(), digest_size=8).hexdigest()
    return digest if digest != _NO_SPAN else "0" * 15 + "1"


def traceparent_for(call_id: str, attempt: int, traceparent: str) -> str:
    """The header that makes an upstream's spans children of the attempt's."""
    trace = trace_of(call_id, traceparent)
    flags = "00" if trace.sampled is False else "01"
    return f"00-{trace.trace_id}-{span_id(call_id, attempt)}-{flags}"
