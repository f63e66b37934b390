"""Where a request goes by its path, and which paths are refused because they only look like others.

Servers differ in what they make of ``//``, ``/./``, ``%63`` and capitals. A path that is passed
through unmetered here and read as a metered one upstream would be a way around every budget; one
with ``..`` a way out of the upstream's API, with its credential.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from proxy.core.errors import NotFound
from proxy.gateway.dialects.base import Dialect
from proxy.gateway.dialects.families import FAMILIES, OUTSIDE, Family
from proxy.gateway.dialects.outside import Outside
from proxy.gateway.dialects.registry import ROUTES
from proxy.gateway.dialects.route import Route

_SEPARATORS = re.compile(r"[/\\]+")
_IGNORED: Final = "".join(map(chr, range(0x21)))  # white space and control characters
_MOST_ESCAPED = 3  # a path may be unescaped by each server that it passes
_PART = re.compile(r"\{(\w+)\}")
# What a part in braces may be; a model may be one of AWS's resource names, whose slash some leave as it is.
_ANY: Final = {False: "[^/]+?", True: "arn(?::|%3A)[^/]+/[^/]+?|[^/]+?"}

# How a path ends at which models answer, whatever stands before that: a second prefix, an older version.
_GENERATES = re.compile(
    r".+(?:/chat/completions|/completions|/embeddings|/responses|/interactions|/rerank|/v1/messages"
    r"|/images/(?:generations|edits|variations)|/audio/(?:speech|transcriptions|translations)"
    r"|/converse|/converse-stream|/invoke|/invoke-with-response-stream"
    r"|:(?:stream|async|batch)?(?:generate|embed)\w*)",
    re.IGNORECASE,
)

# Endpoints of OpenAI's API, as the bounded label of what is only passed through.
_KNOWN = frozenset(
    [
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "messages",
        "models",
        "moderations",
        "organization",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    ]
)


class Way(NamedTuple):
    """What a path says about a call."""

    dialect: Dialect
    metered: bool
    endpoint: str  # a bounded label
    holds: int  # bytes of the path that an upstream's base_url already has
    model: str = ""
    model_span: tuple[int, int] | None = None  # where the path names it
    action: str = ""


# Every path of the data path begins with one of these.
PREFIXES: Final = tuple(
    dict.fromkeys(
        [family.prefix for family in FAMILIES]
        + [route.path.partition("{")[0] for route in ROUTES if not route.path.startswith("/v1/")]
    )
)
NO_WAY: Final = Way(FAMILIES[-1].unmetered, False, "other", 0)


def find_way(method: str, path: bytes, values: Mapping[bytes, bytes]) -> Way | None:
    """Where a request goes; None where nothing is."""
    way = _METERED.get((method, path))
    if way is not None and way.metered:
        return way
    headers = tuple(name for name in _TELLING if name in values)
    if way is not None and not headers:
        return way
    return _find(method, path.decode("latin-1"), headers)


def is_plain(way: Way, path: bytes) -> bool:
    """Whether a metered path is taken as it is: one of a table, or with names that nothing can be hidden in."""
    if isinstance(way.dialect, Outside) or not way.metered:
        return False
    return not (b"%" in path or b"/." in path or b"\\" in path)


def check_path(path: bytes, method: str = "POST") -> None:
    """Refuse a path that another server may read as something else. Raises NotFound."""
    written = path.decode("latin-1")
    text = written
    for _ in range(_MOST_ESCAPED):
        text = unquote(text, "latin-1")
    parts = [part.partition(";")[0].strip(_IGNORED) for part in _SEPARATORS.split(text)]
    if "." in parts or ".." in parts:
        raise NotFound("A path with the segments '.' or '..' leads nowhere.")
    if _is_metered(method, written, 0):
        return
    read_as = "/" + "/".join(part for part in parts if part)
    if method == "POST" and _generates(read_as) and not _generates(written):
        raise NotFound("There is nothing at this path; write it as your provider does.")
    if _is_metered(method, read_as, re.IGNORECASE):
        raise NotFound(f"There is nothing at this path; write it as {_spelled(read_as)}.")


@lru_cache(maxsize=4096)
def _find(method: str, path: str, headers: tuple[bytes, ...]) -> Way | None:
    family = next((family for family in FAMILIES if _covers(family, path, headers)), None)
    for route in ROUTES:
        if (
            method == route.method
            and (match := _pattern(route.path, 0).fullmatch(path))
            and (route.metered or not _is_foreign(route, family))
        ):
            return _way(route, match)
    if family is None:
        return None
    if method == "POST" and _generates(path):
        return Way(OUTSIDE[family.unmetered.family], True, "elsewhere", len(family.holds))
    return Way(family.unmetered, False, _endpoint(family, path), len(family.holds))


def _is_foreign(route: Route, family: Family | None) -> bool:
    """Whether a header says that it is another API's: Anthropic's files, say, at OpenAI's path."""
    if family is None or not family.header:
        return False
    return route.dialect.family != family.unmetered.family


def _covers(family: Family, path: str, headers: tuple[bytes, ...]) -> bool:
    return path.startswith(family.prefix) and (not family.header or family.header in headers)


def _way(route: Route, match: re.Match[str]) -> Way:
    parts = match.groupdict()
    model = parts.get("model") or ""
    return Way(
        dialect=route.dialect,
        metered=route.metered,
        endpoint=route.endpoint,
        holds=len(route.holds) + match.start("path"),
        model=unquote(model, "latin-1"),
        model_span=match.span("model") if model else None,
        action=parts.get("action") or "",
    )


def _generates(path: str) -> bool:
    return _GENERATES.fullmatch(path) is not None


@lru_cache(maxsize=4096)
def _is_metered(method: str, path: str, flags: int) -> bool:
    return any(
        route.method == method and _pattern(route.path, flags).fullmatch(path) for route in ROUTES
    )


def _spelled(path: str) -> str:
    """The path with the letters of its route."""
    for route in ROUTES:
        if match := _pattern(route.path, re.IGNORECASE).fullmatch(path):
            return _PART.sub(lambda part: match[part[1]], route.path)
    return path


def _endpoint(family: Family, path: str) -> str:
    parts = path[len(family.prefix) :].split("/")
    first = parts[0]
    if first not in _KNOWN:
        return "other"
    if first in {"audio", "chat", "images"} and len(parts) > 1:
        return f"{first}.{parts[1]}" if parts[1].isalpha() and len(parts[1]) < 20 else first  # noqa: PLR2004
    return first


@cache
def _pattern(path: str, flags: int) -> re.Pattern[str]:
    """A route's pattern, compiled where it is first asked for: most processes never see most routes."""
    text = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    text = _PART.sub(lambda part: f"(?P<{part[1]}>{_ANY[part[1] == 'model']})", text)
    # A base URL that ends with a slash gives a path of two: a client's slip that Azure puts up with.
    return re.compile(f"(?:/(?=/))?(?P<path>{text})", flags)


_TELLING: Final = tuple({family.header for family in FAMILIES if family.header})
# What most calls ask for is found at once.
_METERED: Final = {
    (route.method, route.path.encode()): Way(
        route.dialect, route.metered, route.endpoint, len(route.holds)
    )
    for route in ROUTES
    if "{" not in route.path
}
