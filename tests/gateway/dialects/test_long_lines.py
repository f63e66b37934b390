"""Lines of a file that passes in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.dialects import long_lines
from proxy.gateway.dialects.long_lines import LongLines


def lines_of(pieces: list[bytes]) -> list[bytes | None]:
    cut = LongLines()
    return [line for piece in pieces for line in cut.feed(piece)] + [cut.end()]


@given(st.lists(st.binary(max_size=4) | st.just(b"\n") | st.just(b"ab\ncd\n")))
def test_they_are_the_same_however_the_file_is_cut(pieces: list[bytes]) -> None:
    assert lines_of(pieces) == b"".join(pieces).split(b"\n")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_line_that_is_too_long_is_none_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 4)
    data = b"abcd\nabcde\nab\n\nabcdef"

    assert lines_of([data[i : i + size] for i in range(0, len(data), size)]) == [
        b"abcd",
        None,
        b"ab",
        b"",
        None,
    ]
