"""Writes a file whole or not at all, whoever else writes it too."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600
READABLE: Final = 0o644


def write_whole(path: Path, data: bytes, mode: int = OWNER_ONLY) -> None:
    """Put the data there; its folder is made. Raises OSError, and leaves nothing half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(beside).chmod(mode)
        Path(beside).replace(path)
    except BaseException:  # whatever ended it
        with contextlib.suppress(OSError):  # what ended it is to be told, not this
            Path(beside).unlink()
        raise
