"""How a caller steers the simulator: by a marker anywhere in the body, or by the model's name.

``[[sim: output_tokens=20, event_ms=5]]`` in a prompt, or ``sim-output-tokens-20+event-ms-5`` as model.
A marker wins over the name, a later marker over an earlier one. A control that does not exist is an
error 400, so that a typo can't make a test pass.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from proxy.simulator.catalogue import SIMULATED


class UnknownControl(ValueError):
    """A control that does not exist, or a value that it does not take."""


class Death(StrEnum):
    """How the simulator ends a connection before its time."""

    RESET = "reset"  # a TCP reset
    CLOSE = "close"  # an orderly end of the connection, in the middle of the answer


class Malformation(StrEnum):
    """What is wrong with the bytes of an answer of status 200."""

    BAD_JSON = "bad_json"  # a line which is no JSON; not streamed: half of the body
    HALF_UTF8 = "half_utf8"  # the body ends within a character, and is complete for HTTP
    NO_DONE = "no_done"  # no `data: [DONE]`
    ERROR = "error"  # an error inside the answer
    TRUNCATED = "truncated"  # the body ends within an event, and is complete for HTTP
    CRLF = "crlf"  # not wrong, but rare: lines end with CR LF
    COMMENTS = "comments"  # not wrong, but rare: comment lines between the events
    NO_SPACE = "no_space"  # not wrong, but rare: no blank after `data:`


class Billing(StrEnum):
    """What a stream costs whose client left."""

    GENERATED = "generated"  # what was generated until then, like OpenAI
    FULL = "full"  # the whole answer, like Bedrock and Gemini


@dataclass(frozen=True, slots=True)
class Controls:
    """What a caller asked the simulator to do. Times are in milliseconds."""

    output_tokens: int | None = None  # visible tokens of each choice
    reasoning_tokens: int | None = None  # hidden tokens of each choice, before the visible ones
    prompt_tokens: int | None = None  # billed and reported instead of what the prompt has
    cached_tokens: int = 0  # how many of the prompt's tokens come from the cache
    choices: int | None = None  # this many choices, whatever `n` says
    tool_calls: int = 0  # call this many of the request's tools
    tier: str | None = None  # the tier that serves, whatever was asked for
    id: str | None = None  # a fixed id and creation time: equal requests get equal bytes
    first_byte_ms: float = 0
    event_ms: float = 0  # before each event but the first
    split: int | str | None = None  # bytes per write; or line, event, char (within each character)
    status: int | None = None  # answer with this error
    error_code: str | None = None  # the error's code, where it is not the usual one of its status
    retry_after: int | None = None  # seconds; an error 429 says 1 where this is not given
    die: Death = Death.RESET
    die_before_answer: bool = False
    die_after_events: int | None = None  # not streamed: after half of the body
    stall_after_events: int | None = None  # say nothing more, until the client leaves
    stall_ms: float | None = None  # or until this time is up
    no_usage: bool = False
    usage_zero: str | None = (
        None  # all: only zeros are reported; chunks: zeros in all but the last chunk
    )
    usage_on_finish_chunk: bool = False  # on the chunk with the finish reason, asked for or not
    reject_stream_options: bool = False
    ignore_max_tokens: bool = False
    malformed: Malformation | None = None
    bill_on_leave: Billing | None = None


DEFAULT: Final = Controls()


def read_controls(body: bytes, model: str = "") -> Controls:
    """The controls in a request's body and model name. Raises UnknownControl."""
    asked: dict[str, Any] = {}
    if model.startswith(SIMULATED):
        asked.update(_from_model(model.removeprefix(SIMULATED)))
    if b"[[sim:" in body:
        for marker in _MARKER.findall(body):
            asked.update(_from_marker(marker.decode("ascii", "replace")))
    return Controls(**asked) if asked else DEFAULT


_MARKER = re.compile(rb"\[\[sim:([^\]]*)\]\]")


def _from_marker(text: str) -> dict[str, Any]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return dict(_control(key.strip(), value.strip()) for key, _, value in pairs)


def _from_model(behaviour: str) -> dict[str, Any]:
    if behaviour == "default":
        return {}
    return dict(_behaviour(part.replace("-", "_")) for part in behaviour.split("+"))


def _behaviour(text: str) -> tuple[str, Any]:
    """``die_after_events_3`` is the longest control that it begins with, and the rest is its value."""
    for key in _LONGEST_FIRST:
        if text == key or text.startswith(f"{key}_"):
            return _control(key, text[len(key) + 1 :])
    raise UnknownControl(f"no behaviour is called {text!r}")


def _control(key: str, value: str) -> tuple[str, Any]:
    read = _READERS.get(key)
    if read is None:
        raise UnknownControl(f"no control is called {key!r}; there are {', '.join(_READERS)}")
    try:
        return key, read(value)
    except ValueError:
        raise UnknownControl(f"control {key!r} does not take {value!r}") from None


def _count(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError(value)
    return number


def _milliseconds(value: str) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError(value)
    return number


def _status(value: str) -> int:
    number = int(value)
    if number not in _STATUSES:
        raise ValueError(value)
    return number


_STATUSES: Final = range(300, 600)


def _flag(value: str) -> bool:
    if value not in ("", "0", "1", "true", "false"):
        raise ValueError(value)
    return value in ("", "1", "true")


def _split(value: str) -> int | str:
    if value in ("line", "event", "char"):
        return value
    number = int(value)
    if number < 1:
        raise ValueError(value)
    return number


def _zeros(value: str) -> str:
    if value not in ("", "all", "chunks"):
        raise ValueError(value)
    return value or "all"


def _word(value: str) -> str:
    if not re.fullmatch(r"[\w.-]+", value, re.ASCII):
        raise ValueError(value)
    return value


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "output_tokens": _count,
    "reasoning_tokens": _count,
    "prompt_tokens": _count,
    "cached_tokens": _count,
    "choices": _count,
    "tool_calls": _count,
    "tier": _word,
    "id": _word,
    "first_byte_ms": _milliseconds,
    "event_ms": _milliseconds,
    "split": _split,
    "status": _status,
    "error_code": _word,
    "retry_after": _count,
    "die": Death,
    "die_before_answer": _flag,
    "die_after_events": _count,
    "stall_after_events": _count,
    "stall_ms": _milliseconds,
    "no_usage": _flag,
    "usage_zero": _zeros,
    "usage_on_finish_chunk": _flag,
    "reject_stream_options": _flag,
    "ignore_max_tokens": _flag,
    "malformed": Malformation,
    "bill_on_leave": Billing,
}
_LONGEST_FIRST: Final = sorted(_READERS, key=len, reverse=True)
