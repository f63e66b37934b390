"""Calls are counted many at a time: nobody may see that."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core.call import CallFinished, CapSource, Outcome, totals
from proxy.observe.metrics import Metrics
from tests.observe.samples import ATTEMPT, RECORD

_KINDS_OF_CALLS: list[dict[str, Any]] = [
    {},
    {"status": 503, "outcome": Outcome.UPSTREAM_FAILED},
    {"attempts": ()},
    {"first_byte_us": None},
    {"output_cap_source": CapSource.CLIENT},
    {"team": "other"},
    {"attempts": (replace(ATTEMPT, error="truncated"),)},
    {"attempts": (replace(ATTEMPT, price_source="unpriced", cost_nano=0),)},
    {"attempts": (ATTEMPT, replace(ATTEMPT, number=2))},
]


@given(
    calls=st.lists(st.tuples(st.sampled_from(_KINDS_OF_CALLS), st.integers(0, 10**8)), max_size=30)
)
def test_calls_counted_together_are_counted_as_one_by_one(
    calls: list[tuple[dict[str, Any], int]],
) -> None:
    """Whatever calls come together, and whoever looks in between."""
    together, alone = Metrics(), Metrics()
    for place, (kind, micros) in enumerate(calls):
        record = replace(RECORD, id=f"fb-{place}", **{"duration_us": micros, **kind})
        together.call_finished(CallFinished(record, (), "", totals(record)))
        alone.call_finished(CallFinished(record))
        alone.snapshot()

    assert together.snapshot() == alone.snapshot()
    for name, by_labels in alone.exemplars().items():
        seen = together.exemplars()[name]
        assert {labels: set(places) for labels, places in seen.items()} == {
            labels: set(places) for labels, places in by_labels.items()
        }
