"""Costs that providers state themselves, as they write them."""

from typing import Any

import pytest

from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.notes import note_usage
from proxy.gateway.dialects.stated import stated_nano

TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, None),
        ({"cost_in_usd_ticks": 6_306_000}, 630_600),
        ({"cost_in_usd_ticks": 15}, 2),  # half a nano-dollar goes to the even one
        ({"cost_in_usd_ticks": 25}, 2),
        ({"cost_in_usd_ticks": 0}, None),  # Azure's Grok: not a price
        ({"cost": 5.37e-06, "is_byok": False}, 5_370),
        ({"cost": 0.000996}, 996_000),
        ({"cost": 0}, 0),  # a free model
        ({"cost": 1.25e-10}, 0),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0123}}, 12_300_000),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": 8.25e-05, "cost_details": {"upstream_inference_cost": 8.25e-05}}, 82_500),
        ({"cost": {"total_cost": 0.00507, "request_cost": 0.005}}, 5_070_000),
        ({"cost": {}}, None),
        ({"cost": "0.1"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": float("nan")}, None),
        ({"cost": float("inf")}, None),
        ({"cost": 1e300}, None),
        ({"cost_in_usd_ticks": 10**400}, None),
        ({"cost_in_usd_ticks": [1]}, None),
    ],
)  # fmt: skip
def test_a_stated_cost_is_read_exactly_and_rounded_once(
    usage: dict[str, Any], expected: int | None
) -> None:
    """What is no cost is none: a call is then charged by its usage."""
    assert stated_nano(usage) == expected


def test_usage_brings_its_cost_and_how_deep_it_searched() -> None:
    scan = Scan()
    cost = {"total_cost": 0.00507}

    note_usage(scan, {"usage": {**TOKENS, "search_context_size": "low", "cost": cost}})
    note_usage(scan, {"usage": {**TOKENS, "search_context_size": "low", "cost": cost}})

    assert (scan.stated_nano, scan.variants) == (5_070_000, ("low",))


def test_the_last_stated_cost_counts() -> None:
    """Streams that repeat their usage state what it came to so far."""
    scan = Scan()
    for cost in (0.001, 0.002):
        note_usage(scan, {"usage": {**TOKENS, "cost": cost}})

    assert scan.stated_nano == 2_000_000
