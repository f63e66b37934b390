"""Trace context: whose trace a call is a part of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.call import new_call_id
from proxy.core.trace import Trace, span_id, trace_of, traceparent_for

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALL = "fb-0193641d0e00a1b2c3d4e5f60718293a"


def test_the_clients_trace_is_the_calls() -> None:
    expected = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)

    assert trace_of(CALL, CLIENT) == expected
    assert trace_of(CALL, CLIENT[:-2] + "00").sampled is False


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "nonsense",
        CLIENT.upper(),
        "ff" + CLIENT[2:],
        "00-" + "0" * 32 + CLIENT[35:],
        CLIENT[:36] + "0" * 16 + "-01",
    ],
)
def test_else_it_is_the_calls_own(shown: str) -> None:
    """What is not valid counts as absent, as the standard has it."""
    assert trace_of(CALL, shown) == Trace(CALL[3:], "", sampled=None)


@given(st.integers(0, 5))
def test_ids_have_the_length_of_the_standard(attempt: int) -> None:
    call = new_call_id()

    assert re.fullmatch("[0-9a-f]{32}", trace_of(call, "").trace_id)
    assert re.fullmatch("[0-9a-f]{16}", span_id(call, attempt))
    assert span_id(call, attempt) != span_id(call, attempt + 1)


def test_an_upstream_becomes_a_child_of_the_attempt() -> None:
    trace = CLIENT[3:35]

    assert traceparent_for(CALL, 2, CLIENT) == f"00-{trace}-{span_id(CALL, 2)}-01"
    assert traceparent_for(CALL, 1, CLIENT[:-2] + "00").endswith("-00")
