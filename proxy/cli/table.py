"""Tables for people: drawn in one pass over the rows, each as quickly as the last.

A library for terminals takes longer to load, and then a tenth of a millisecond for each cell, than
the ledger takes to add up what the table shows.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest

_NARROWEST = 8  # a column is not made narrower than that, whatever the terminal
_FRAME = 3  # a line and two blanks for each column


def drawn(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool], width: int
) -> Iterator[str]:
    """The lines of a table that is at most so wide, unless its columns can't be any narrower.

    What does not fit in a column goes on in the next line: nothing is cut.
    """
    rows = [[_harmless(text) for text in row] for row in rows]
    columns = zip(*([titles, *rows]), strict=True)
    widths = _fitted([max(map(_cells, column)) for column in columns], width)
    yield _rule(("┏", "━", "┳", "┓"), widths)
    yield from _lines(titles, widths, numbers, "┃")
    yield _rule(("┡", "━", "╇", "┩"), widths)
    for row in rows:
        yield from _lines(row, widths, numbers, "│")
    yield _rule(("└", "─", "┴", "┘"), widths)


def _fitted(widths: list[int], most: int) -> list[int]:
    over = sum(widths) + _FRAME * len(widths) + 1 - most
    while over > 0 and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
        over -= 1
    return widths


def _rule(marks: tuple[str, str, str, str], widths: Sequence[int]) -> str:
    left, line, between, right = marks
    return left + between.join(line * (width + 2) for width in widths) + right


def _lines(
    row: Sequence[str], widths: Sequence[int], numbers: Sequence[bool], bar: str
) -> Iterator[str]:
    pieces = [list(_pieces(text, width)) for text, width in zip(row, widths, strict=True)]
    for line in zip_longest(*pieces, fillvalue=""):
        cells = zip(line, widths, numbers, strict=True)
        yield bar + bar.join(f" {_placed(*cell)} " for cell in cells) + bar


def _pieces(text: str, width: int) -> Iterator[str]:
    """The text in pieces that fit; at a blank where there is one near the end."""
    rest = text
    while _cells(rest) > width:
        end = width
        while _cells(rest[:end]) > width:
            end -= 1
        blank = rest.rfind(" ", end // 2, end + 1)
        end = max(end, 1) if blank < 1 else blank
        yield rest[:end]
        rest = rest[end:].lstrip(" ")
    yield rest


def _placed(text: str, width: int, number: bool) -> str:
    room = " " * (width - _cells(text))
    return room + text if number else text + room


def _harmless(text: str) -> str:
    """What a terminal would obey is shown instead."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return " " if letter == "\n" else repr(letter)[1:-1]


def _cells(text: str) -> int:
    """How many places a terminal takes for it: two for what is written in East Asia, none for marks."""
    if text.isascii():
        return len(text)
    return sum(_width_of(letter) for letter in text)


def _width_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
