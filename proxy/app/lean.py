"""What a server need not load."""

import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType


def load_structlog_alone() -> None:
    """Load structlog without rich, which it takes along with pygments wherever they are installed.

    That is 4.5 MiB and a part of the start, for tracebacks that Farebox writes itself
    (``observe/defects.py``). Who wants rich afterwards, as a command does, has it.
    """
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    sys.modules["rich"] = cast("ModuleType", None)  # so that an import of it fails
    try:
        import structlog  # noqa: F401, PLC0415 - this is the import that it is about
    finally:
        del sys.modules["rich"]
