"""How a caller steers the simulator."""

from dataclasses import fields
from typing import Any

import pytest

from proxy.simulator import controls
from proxy.simulator.controls import (
    Billing,
    Controls,
    Death,
    Malformation,
    UnknownControl,
    read_controls,
)


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("output_tokens=20", {"output_tokens": 20}),
        (" output_tokens = 20 , event_ms=2.5 ", {"output_tokens": 20, "event_ms": 2.5}),
        ("no_usage", {"no_usage": True}),
        ("no_usage=0", {"no_usage": False}),
        ("split=1", {"split": 1}),
        ("split=char", {"split": "char"}),
        ("die_after_events=3,die=close", {"die_after_events": 3, "die": Death.CLOSE}),
        ("malformed=half_utf8", {"malformed": Malformation.HALF_UTF8}),
        ("usage_zero", {"usage_zero": "all"}),
        ("usage_zero=chunks", {"usage_zero": "chunks"}),
        ("bill_on_leave=full", {"bill_on_leave": Billing.FULL}),
        ("status=503", {"status": 503}),
        ("", {}),
    ],
)
def test_reads_a_marker(marker: str, expected: dict[str, Any]) -> None:
    body = b'{"content":"Hello [[sim: %b]] there"}' % marker.encode()

    assert Controls(**expected) == read_controls(body)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("sim-default", {}),
        ("sim-no-usage", {"no_usage": True}),
        ("sim-status-429", {"status": 429}),
        ("sim-die-after-events-3", {"die_after_events": 3}),
        ("sim-die-before-answer", {"die_before_answer": True}),
        ("sim-die-close+die-after-events-1", {"die": Death.CLOSE, "die_after_events": 1}),
        ("sim-malformed-no_done", {"malformed": Malformation.NO_DONE}),
        ("gpt-4o", {}),
    ],
)
def test_reads_a_model_name(model: str, expected: dict[str, Any]) -> None:
    assert Controls(**expected) == read_controls(b"{}", model)


def test_a_marker_wins_over_the_name_and_a_later_one_over_an_earlier() -> None:
    body = b"[[sim: output_tokens=2, event_ms=1]] [[sim: output_tokens=3]]"

    assert Controls(output_tokens=3, event_ms=1) == read_controls(body, "sim-output-tokens-1")


@pytest.mark.parametrize(
    "marker",
    [
        "output_token=1",
        "output_tokens=x",
        "output_tokens=-1",
        "status=200",
        "status=600",
        "split=0",
        "split=word",
        "die=slowly",
        "no_usage=perhaps",
        "event_ms=inf",
        "event_ms=nan",
        "event_ms=-1",
        "tier=a b",
        "usage_zero=some",
    ],
)
def test_a_control_that_does_not_exist_is_an_error(marker: str) -> None:
    """A typo must not make a test pass."""
    with pytest.raises(UnknownControl, match=marker.partition("=")[0]):
        read_controls(b"[[sim: %b]]" % marker.encode())


def test_an_unknown_behaviour_is_an_error() -> None:
    with pytest.raises(UnknownControl, match="fly"):
        read_controls(b"{}", "sim-fly")


def test_each_control_can_be_asked_for() -> None:
    assert {field.name for field in fields(Controls)} == set(controls._READERS)
