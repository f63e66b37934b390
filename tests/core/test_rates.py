"""Rate limits: a minute's worth at once, then evenly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rates import Pace, RateLimit


def test_a_minutes_worth_may_come_at_once() -> None:
    """The next has to wait until one has come back."""
    pace = Pace()
    for _ in range(3):
        assert pace.wait_s(3, 100.0) == 0
        pace.take(1, 3, 100.0)

    assert pace.wait_s(3, 100.0) == pytest.approx(20)
    assert pace.wait_s(3, 119.0) == pytest.approx(1)
    assert pace.wait_s(3, 120.0) == 0


def test_what_is_over_is_waited_for() -> None:
    """Tokens are known when a call is over: it may have used more than there was."""
    pace = Pace()
    pace.take(2_000, 1_000, 0.0)

    assert pace.wait_s(1_000, 60.0) == pytest.approx(0.06)


def test_nothing_is_saved_up() -> None:
    """An hour of silence is worth no more than a minute of it."""
    pace = Pace()
    for _ in range(2):
        pace.take(1, 2, 3600.0)

    assert pace.wait_s(2, 3600.0) > 0


@given(st.integers(1, 1000), st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=200))
def test_never_more_than_the_burst_and_the_pace(per_minute: int, pauses: list[float]) -> None:
    """In any time t, no more than a minute's worth and t's share pass."""
    pace, now, passed = Pace(), 0.0, 0
    for pause in pauses:
        now += pause
        while not pace.wait_s(per_minute, now):
            pace.take(1, per_minute, now)
            passed += 1
        assert passed <= per_minute + per_minute * now / 60 + 1e-3


def test_a_limit_without_a_number_is_none() -> None:
    assert not RateLimit()
    assert RateLimit(requests_per_minute=1)
    assert RateLimit(tokens_per_minute=1)
