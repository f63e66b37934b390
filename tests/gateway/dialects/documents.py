"""Random JSON objects, and random ways to write them down."""

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

_SPACES = ("", "", "", " ", "\n", "\t", "\r\n  ")

# Texts that look like structure, or like the names that are looked for.
_TRICKY = st.sampled_from(
    [
        "model",
        '"model":',
        "max_tokens",
        ',"usage":null',
        "}",
        '{"',
        "\\",
        '\\"',
        "é",
        "😀",
        "\n",
        "n",
        "stream_options",
    ]
)
_TEXTS = st.one_of(_TRICKY, st.text(max_size=12), st.lists(_TRICKY, max_size=3).map("".join))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXTS,
)


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose names and values are likely to mislead a search."""
    values = st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(_TEXTS, values, max_size=6)


def misplaced(*names: str) -> st.SearchStrategy[Any]:
    """Any JSON with the names that a reader looks for, anywhere, and numbers that count nothing."""
    return st.recursive(
        st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4)
        ),
        max_leaves=15,
    )


def spelled(value: Any, random: Random, *, names: bool = True) -> bytes:
    """The value as JSON, with white space and escapes as chance has it."""
    return _spelled(value, random, names).encode()


def _spelled(value: Any, random: Random, names: bool) -> str:
    def space() -> str:
        return random.choice(_SPACES)

    if isinstance(value, dict):
        members = (
            f"{space()}{_string(k, random, names)}{space()}:{space()}{_spelled(v, random, names)}{space()}"
            for k, v in value.items()
        )
        return "{" + (",".join(members) or space()) + "}"
    if isinstance(value, list):
        items = (f"{space()}{_spelled(v, random, names)}{space()}" for v in value)
        return "[" + ",".join(items) + "]"
    if isinstance(value, str):
        return _string(value, random, names=True)
    return json.dumps(value)


def _string(text: str, random: Random, names: bool) -> str:
    if not names or random.random() < 0.7:
        return json.dumps(text, ensure_ascii=random.random() < 0.5)
    return (
        '"'
        + "".join(_escaped(c) if random.random() < 0.3 else json.dumps(c)[1:-1] for c in text)
        + '"'
    )


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
