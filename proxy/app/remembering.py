"""What calls usually come to, kept beside the spool, so that a process that died does not begin anew.

Open on purpose: it serves estimates only, and where the file can't be read or written they begin with
what the table says. It holds names of teams and models, and means of tokens; no text, no key.
"""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec
import structlog

from proxy.gateway.experience import Experience, Key, Means

_FILE: Final = "experience.json"
_EVERY_S: Final = 2.0
_Kept = list[tuple[Key, Means]]
_log = structlog.get_logger("farebox")


def recall(folder: Path, experience: Experience) -> None:
    """Take up what a process before this one has kept there."""
    try:
        kept = msgspec.json.decode((folder / _FILE).read_bytes(), type=_Kept)
    except FileNotFoundError:
        return  # the first one here
    except (msgspec.MsgspecError, OSError) as error:
        _log.warning("experience_not_read", problem=str(error))
    else:
        experience.take_up(dict(kept))


async def remember(folder: Path, experience: Experience) -> None:
    """Keep it there, now and then, until cancelled. Processes that share a folder take turns."""
    learned = experience.learned
    while True:
        await asyncio.sleep(_EVERY_S)
        if experience.learned != learned:
            learned = experience.learned
            data = msgspec.json.encode(list(experience.means().items()))
            try:
                await asyncio.to_thread(_write, folder, data)
            except OSError as error:
                _log.warning("experience_not_kept", problem=str(error))


def _write(folder: Path, data: bytes) -> None:
    """Whole or not at all, and for this user only."""
    folder.mkdir(parents=True, exist_ok=True)
    number, beside = tempfile.mkstemp(prefix=f".{_FILE}-", dir=folder)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(beside).replace(folder / _FILE)
    except BaseException:  # whatever ended it, nothing half-written stays behind
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise
