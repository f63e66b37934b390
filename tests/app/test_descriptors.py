"""Room for connections."""

import subprocess
import sys

_CHILD = """
import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
before = len(os.listdir("/proc/self/fd"))
from proxy.app.descriptors import make_room
make_room()
size = [line.split()[1] for line in open("/proc/self/status") if line.startswith("FDSize")]
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard), *size, len(os.listdir("/proc/self/fd")) - before)
"""


def test_a_server_may_have_as_many_as_the_system_allows_and_has_room_for_them() -> None:
    """The table is made at once: to enlarge it later stops every call. Nothing stays open."""
    said = subprocess.run(
        [sys.executable, "-c", _CHILD], check=True, capture_output=True, text=True
    )

    raised, size, left_open = said.stdout.split()
    assert raised == "True"
    assert int(size) >= 1024
    assert left_open == "0"
