"""Which model a name means: match clauses as data, and the names that a model may go by.

A clause is JSON: ``{"equals": "gpt-4o"}``, ``starts_with``, ``ends_with``, ``contains``, ``regex``,
or ``{"or": [clause, …]}`` and ``{"and": […]}``. Names are compared in lower case.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

Matcher = Callable[[str], bool]

# The ways in which a provider's own name is wrapped: an SDK's prefix, a resource path, an ARN. What
# a customer named himself (an application inference profile, a fine-tune) is not unwrapped.
_WRAPPED = re.compile(
    r"""^(?: arn:aws[\w-]*:bedrock:[^/]*:(?:foundation-model|inference-profile)/
        | (?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/
        | models/
        | (?:openai|anthropic|google|gemini|vertex_ai|azure|bedrock|mistral|deepseek|groq|xai|x-ai|cohere)/
        )(?P<name>.+)$""",
    re.VERBOSE,
)
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=$|[-:])")
# -2025-04-14, -20250414, @20250414, -0613, -2411, -001, @001, -latest
_SNAPSHOT = re.compile(r"(?:-\d{4}-\d\d-\d\d|[-@]20\d{6}|[-@]0\d\d|-\d{4}|[-:@]latest)$")


def matcher(clause: dict[str, Any]) -> Matcher:
    """The test that a clause describes, for names in lower case. Raises ValueError for no clause."""
    ((kind, wanted),) = clause.items()
    if kind in ("or", "and"):
        parts = [matcher(part) for part in wanted]
        combine = any if kind == "or" else all
        return lambda name: combine(part(name) for part in parts)
    if kind == "regex":
        search = re.compile(wanted).search  # as written: its author knew about the lower case
        return lambda name: search(name) is not None
    return _plain(kind, wanted.lower())


def _plain(kind: str, wanted: str) -> Matcher:
    match kind:
        case "equals":
            return wanted.__eq__
        case "starts_with":
            return lambda name: name.startswith(wanted)
        case "ends_with":
            return lambda name: name.endswith(wanted)
        case "contains":
            return lambda name: wanted in name
        case _:
            raise ValueError(f"{kind} is not a match clause")


def exact_names(model: str) -> Iterator[str]:
    """The names that mean just this model, most literal first: as it is, its date dashed, unwrapped."""
    name = model.strip().lower()
    yield name
    if (dashed := _COMPACT_DATE.sub(_dashed, name)) != name:
        yield dashed
    if wrapped := _WRAPPED.match(name):
        yield from exact_names(wrapped["name"])


def names(model: str) -> Iterator[str]:
    """``exact_names``, and then the name without the date of a snapshot.

    A snapshot that nobody has listed yet nearly always costs what its family costs. A fine-tune
    does not, and keeps its name.
    """
    last = ""
    for last in exact_names(model):
        yield last
    if not last.startswith("ft:") and (family := _SNAPSHOT.sub("", last)) != last and family:
        yield family


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(group) for group in found.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:  # eight digits, but no date
        return found[0]
