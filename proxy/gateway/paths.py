"""Which paths are metered, and which ones are refused because they only look like others.

Servers differ in what they make of ``//``, ``/./``, ``%63`` and capitals. A path that is passed
through unmetered here and read as a metered one upstream would be a way around every budget; one
with ``..`` a way out of the upstream's API, with its credential.
"""

import re
from typing import Final
from urllib.parse import unquote

from proxy.core.errors import NotFound
from proxy.gateway.dialects.base import Dialect
from proxy.gateway.dialects.registry import DIALECTS

METERED: Final[dict[bytes, Dialect]] = {
    b"/v1/" + name.replace(".", "/").encode(): dialect for name, dialect in DIALECTS.items()
}
_METERED_PATHS: Final = frozenset(path.decode() for path in METERED)
_SEPARATORS = re.compile(r"[/\\]+")
_IGNORED: Final = "".join(map(chr, range(0x21)))  # white space and control characters
_MOST_ESCAPED = 3  # a path may be unescaped by each server that it passes


def check_path(path: bytes) -> None:
    """Refuse a path that another server may read as something else. Raises NotFound."""
    if path in METERED:
        return
    text = path.decode("latin-1")
    for _ in range(_MOST_ESCAPED):
        text = unquote(text, "latin-1")
    parts = [part.partition(";")[0].strip(_IGNORED) for part in _SEPARATORS.split(text)]
    if "." in parts or ".." in parts:
        raise NotFound("A path with the segments '.' or '..' leads nowhere.")
    read_as = "/" + "/".join(part for part in parts if part).lower()
    if read_as in _METERED_PATHS:
        raise NotFound(f"There is nothing at this path; write it as {read_as}.")
