"""The name that somebody meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def closest(written: str, known: Iterable[str]) -> str:
    """The known name that looks most like what was written; "" where none does."""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(written.casefold(), folded, n=1)
    return folded[close[0]] if close else ""


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """``did you mean x?``, or what there is to choose from; "" where there is nothing."""
    known = sorted(known)
    if close := closest(written, known):
        return f"did you mean {close}?"
    return f"write one of {', '.join(known)}" if known else ""
