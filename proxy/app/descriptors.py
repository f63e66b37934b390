"""How many connections the process may have, and room for them."""

import contextlib
import fcntl
import os
import resource
from typing import Final

_ROOM: Final = 16_384  # descriptors: two a call under way


def make_room() -> None:
    """Raise the limit of descriptors to what the system allows, and have room for them beforehand.

    Many systems give a process 1,024, which 500 streams use up. And Linux doubles the table of
    descriptors when it is full, which in a process with threads takes 10 to 20 ms in which no call goes
    on: at the 256th, the 512th, and so on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    highest = _ROOM if soft == resource.RLIM_INFINITY else min(soft, _ROOM)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # no room beforehand, then
        os.close(fcntl.fcntl(nothing, fcntl.F_DUPFD_CLOEXEC, highest - 1))
    os.close(nothing)
