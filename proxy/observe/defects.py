"""Defects of ours as the log tells them: where they happened, and never in their own words.

An exception's message may quote what it was given, and that may be a prompt, an answer or a key.
"""

import asyncio
import traceback
from typing import Any, Final

import structlog

_DEEPEST: Final = 8  # causes that are told
_WORDS: Final = 3  # of what asyncio says; further on it quotes


def traceback_of(error: BaseException | None) -> str:
    """The tracebacks of an exception and its causes, with their types and without their messages."""
    told: list[str] = []
    while error is not None and len(told) < _DEEPEST:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        told.insert(0, "".join([*traceback.format_tb(error.__traceback__), kind]))
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden
    return "\nwhich led to\n".join(told)


def log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What to do with an exception that nobody waited for: an event loop's exception handler."""
    structlog.get_logger("farebox.asyncio").error(
        "unhandled",
        what=" ".join(str(context.get("message", "")).split()[:_WORDS]),
        exc_info=context.get("exception"),
    )
