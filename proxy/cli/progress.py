"""A progress bar on stderr, so that it is never in the way of what a command prints."""

import contextlib
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A bar on stderr, where that is a terminal; to be told of each page that is done."""
    from rich.console import Console  # noqa: PLC0415 - slow; ``--help`` does without
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - see above

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda rows: shown.advance(task, rows)
