"""Caps: the least of all who have a say, and who that was."""

import pytest

from proxy.core.call import CapSource, Key, Team
from proxy.core.errors import ContextLengthExceeded, MaxOutputTokensExceeded
from proxy.core.limits import Cap, check_input_cap, check_over_cap, output_cap


def key(own: int | None = None, team: int | None = None) -> Key:
    return Key("k", "k", Team("t", max_output_tokens=team), max_output_tokens=own)


@pytest.mark.parametrize(
    ("asked", "own", "team", "rule", "default", "expected"),
    [
        (None, None, None, None, None, (None, CapSource.NONE)),
        (50, None, None, None, None, (50, CapSource.CLIENT)),
        (50, 100, 100, 100, 100, (50, CapSource.CLIENT)),
        (100, 100, 100, 100, 100, (100, CapSource.CLIENT)),
        (200, 100, None, None, None, (100, CapSource.KEY)),
        (200, 150, 100, None, None, (100, CapSource.TEAM)),
        (200, 150, 100, 90, None, (90, CapSource.MODEL)),
        (None, 150, 100, 90, 80, (80, CapSource.DEFAULT)),
        (None, 10, 100, 90, 80, (10, CapSource.KEY)),
    ],
)
def test_the_least_limit_counts_and_its_owner_is_named(
    asked: int | None,
    own: int | None,
    team: int | None,
    rule: int | None,
    default: int | None,
    expected: tuple[int | None, CapSource],
) -> None:
    """A client that asks for no more than it may have has set the cap itself."""
    cap = output_cap(asked, key(own, team), model_rule=rule, default=default)
    assert (cap.tokens, cap.source) == expected


def test_a_default_is_no_error_at_a_small_model() -> None:
    """What we write never exceeds what the model takes; what a client asks is the upstream's to judge."""
    small = output_cap(None, key(), model_rule=None, default=8192, model_maximum=4096)
    assert small == Cap(4096, CapSource.DEFAULT)
    asked = output_cap(8192, key(), model_rule=None, default=None, model_maximum=4096)
    assert asked == Cap(8192, CapSource.CLIENT)


def test_a_policy_may_reject_instead_of_clamping() -> None:
    """With on_over_cap: reject, asking for more than the cap is an error that names the parameter."""
    cap = Cap(100, CapSource.TEAM)
    check_over_cap(101, cap, "clamp", "max_tokens")
    check_over_cap(100, cap, "reject", "max_tokens")
    with pytest.raises(MaxOutputTokensExceeded) as refused:
        check_over_cap(101, cap, "reject", "max_tokens")
    assert refused.value.param == "max_tokens"
    assert "Ask for at most 100" in refused.value.message


def test_the_input_cap_says_how_much_there_was() -> None:
    """An input at the limit passes; one token more is refused with both numbers."""
    check_input_cap(10, 10, "search")
    with pytest.raises(ContextLengthExceeded, match=r"about 11 tokens.*at most 10"):
        check_input_cap(11, 10, "search")


def test_the_header_says_the_cap_and_who_set_it() -> None:
    """The form that clients see."""
    assert Cap(1000, CapSource.TEAM).header == "1000; source=team"
