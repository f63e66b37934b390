"""What calls usually come to, kept beside the spool, so that a process that died does not begin anew.

Open on purpose: it serves estimates only, and where the file can't be read or written they begin with
what the table says. It holds names of teams and models, and means of tokens; no text, no key.
"""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from proxy.gateway.experience import Experience, Key, Means
from proxy.store.whole_file import write_whole

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
                await asyncio.to_thread(write_whole, folder / _FILE, data)
            except OSError as error:
                _log.warning("experience_not_kept", problem=str(error))
