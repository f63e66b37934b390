"""Tables for people: nothing cut, nothing obeyed, every line as wide as the others."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.table import drawn

_NUMBERS = [False, True]
_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=40)


def _cells(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)
    return len(line) + wide - sum(bool(unicodedata.combining(letter)) for letter in line)


def test_numbers_stand_to_the_right() -> None:
    """A column is as wide as its widest cell."""
    lines = list(drawn(["team", "cost $"], [["search", "1.5"], ["ads", "12.25"]], _NUMBERS, 80))

    assert lines == [
        "┏━━━━━━━━┳━━━━━━━━┓",
        "┃ team   ┃ cost $ ┃",
        "┡━━━━━━━━╇━━━━━━━━┩",
        "│ search │    1.5 │",
        "│ ads    │  12.25 │",
        "└────────┴────────┘",
    ]


def test_what_does_not_fit_goes_on_in_the_next_line() -> None:
    """The widest column gives way; nothing is cut."""
    lines = list(drawn(["user", "calls"], [["a rather long name", "7"]], _NUMBERS, 24))

    assert lines[3:-1] == ["│ a rather     │     7 │", "│ long name    │       │"]


def test_letters_of_two_places_are_counted_as_two() -> None:
    """The lines end below each other on a terminal."""
    lines = list(drawn(["user", "calls"], [["東京", "7"], ["Zoë", "12"]], _NUMBERS, 80))

    assert {_cells(line) for line in lines} == {16}


def test_a_terminal_obeys_nothing_that_a_caller_sent() -> None:
    """An escape sequence is shown, a line break is a blank."""
    lines = list(drawn(["user", "calls"], [["\x1b[31mred\nx", "7"]], _NUMBERS, 80))

    assert lines[3] == r"│ \x1b[31mred x │     7 │"


@given(st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=6), st.integers(20, 60))
def test_every_line_is_as_wide_and_says_everything(rows: list[tuple[str, str]], width: int) -> None:
    """Whatever the names and the terminal; blanks may go where a cell is folded."""
    lines = list(drawn(["a", "b"], rows, _NUMBERS, width))

    assert {_cells(line) for line in lines} == {_cells(lines[0])}
    assert _cells(lines[0]) <= max(width, 23)
    for column in (0, 1):
        shown = "".join(line.split("│")[1 + column] for line in lines[3:-1])
        sent = "".join(row[column] if row[column].isprintable() else "" for row in rows)
        if all(row[column].isprintable() and "│" not in row[column] for row in rows):
            assert "".join(shown.split()) == "".join(sent.split())
