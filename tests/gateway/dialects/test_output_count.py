"""Counting tokens of text that arrives in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.calibration import Calibration
from proxy.gateway.dialects.output_count import OutputCount
from tests.gateway.dialects.chunks import letters, pretokens, words

_WORDS = st.sampled_from(
    [
        " a",
        "a",
        "Bc",
        " ",
        "  ",
        "\n",
        ".",
        ", ",
        "'s",
        "é",
        "。",
        "的",
        "1",
        " 23",
        "_",
        "?!",
        "😀",
    ]
)
_PIECES = st.lists(st.lists(_WORDS, max_size=4).map("".join), max_size=30)


@given(_PIECES, st.sets(st.integers(0, 30)))
def test_counting_often_gives_what_counting_once_gives(pieces: list[str], asked: set[int]) -> None:
    """To the token, though what was counted is folded into a number: no fold splits a token."""
    output = OutputCount(pretokens)

    for i, piece in enumerate(pieces):
        output.add("0.content", piece)
        if i in asked:
            assert pretokens("".join(pieces[: i + 1])) == output.tokens()

    assert pretokens("".join(pieces)) == output.tokens()


@given(_PIECES, _PIECES)
def test_what_follows_never_takes_tokens_away_from_the_lower_bound(
    pieces: list[str], more: list[str]
) -> None:
    """A word in pieces may be more tokens than the whole one, and so may white space."""
    output = OutputCount(pretokens)
    for piece in pieces:
        output.add("0.content", piece)

    assert output.at_least() <= pretokens("".join(pieces + more))


def test_the_lower_bound_is_exact_between_words() -> None:
    output = OutputCount(pretokens)

    for i in range(1, 10):
        output.add("0.content", " word")
        assert i == output.at_least()


@given(_PIECES, st.sets(st.integers(0, 30)))
def test_the_bounds_hold(pieces: list[str], asked: set[int]) -> None:
    """Before and after counting there is never more than ``at_most``, and never less than ``at_least``."""
    output = OutputCount(pretokens)

    for i, piece in enumerate(pieces):
        output.add(f"{i % 2}.content", piece)
        at_most = output.at_most
        if i in asked:
            assert output.at_least() <= output.tokens() <= at_most
            assert output.tokens() <= output.at_most


@pytest.mark.parametrize("piece", ["word ", "x", "的", "  "])
def test_memory_is_flat(piece: str) -> None:
    """Also where no place to fold is found; then the count may be off by some, and says so."""
    output = OutputCount(pretokens)

    for _ in range(300):
        output.add("0.content", piece * 1000)

    kept = sum(len(text) for run in output._runs.values() for text in run)
    assert kept <= 66_000
    assert output.at_least() <= pretokens(piece * 300_000) <= output.tokens()


def test_a_copy_goes_its_own_way() -> None:
    output = OutputCount(letters)
    output.add("0", "abc")

    twin = output.copy()
    twin.add("0", "de")
    twin.add("1", "f")

    assert (output.tokens(), twin.tokens()) == (3, 6)


def test_an_answer_of_very_many_pieces_is_counted_in_flat_memory() -> None:
    """No provider numbers its pieces so; what does is forgotten once it is counted."""
    output = OutputCount(words)
    for i in range(10_000):
        output.add(f"tool.{i}", "two words")

    assert len(output._runs) <= 4_096
    assert output.tokens() == 20_000
    assert output.billed(Calibration(tool_call=1)) == 30_000


def test_text_without_a_word_end_is_bounded_by_its_tokens_once_they_were_counted() -> None:
    """Not by its bytes again, or whoever is near a cap by bytes would count with each piece."""
    counted: list[int] = []

    def thirds(text: str) -> int:
        counted.append(len(text))
        return -(-len(text) // 3)

    cap, output = 4_096, OutputCount(thirds)
    for _ in range(2_000):
        output.add("0.content", "12345")
        if output.at_most > cap:
            output.tokens()

    assert output.tokens() == 10_000 // 3 + 1
    assert len(counted) < 10
