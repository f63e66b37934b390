"""Bounded labels: what a client may invent (model names, paths) must not grow the page without end."""

from collections.abc import Callable

OTHER = "other"


class Vocabulary:
    """Names that may become a label's value.

    A name from a call that went well is real, and may take any free place. A name from a call that
    failed may be made up, so such names together get a quarter of the places: a client that tries
    names at random can't push the real ones out.
    """

    def __init__(self, places: int, on_full: Callable[[], None]) -> None:
        self._places = places
        self._on_full = on_full
        self._names: set[str] = {"", OTHER}
        self._doubtful = 0

    def admit(self, name: str, *, real: bool) -> str:
        """The name itself, or "other" where there is no place for it."""
        if name in self._names:
            return name
        full = len(self._names) >= self._places
        if full or (not real and self._doubtful >= self._places // 4):
            self._on_full()
            return OTHER
        self._names.add(name)
        self._doubtful += not real
        return name


def endpoint_label(endpoint: str) -> str:
    """An endpoint's name as it is; a path cut to its first two parts, for ids come after them."""
    if "/" not in endpoint:
        return endpoint
    return "/".join(endpoint.split("?", 1)[0].split("/")[:3])
