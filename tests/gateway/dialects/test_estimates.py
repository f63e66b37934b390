"""What is counted of recorded streams that are cut off, beside what was billed for them."""

import pytest

from bench.estimates import Estimates, estimates
from bench.fuzz import RECORDED

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="no recordings here")

# The median of |estimate ÷ billed - 1| that each provider may have. Short answers make it large: what
# wraps a call of a tool is not in the text, and is most of such an answer.
MOST = {"anthropic": 0.15, "aws-bedrock": 0.30, "cohere": 0.10, "mistral": 0.25, "ollama": 0.25,
        "openai": 0.35}  # fmt: skip
FEWEST = 5  # streams that a median is made of
# Who says nothing of reasoning that is billed, or shows reasoning that is billed elsewhere.
UNSEEN = frozenset(("azure", "google-vertex", "xai"))


@pytest.fixture(scope="module", name="found")
def _found() -> dict[str, Estimates]:
    return estimates()


def test_a_stream_that_is_cut_is_counted_or_reported(found: dict[str, Estimates]) -> None:
    """After each event: none is free, nearly all are counted."""
    cuts = sum(made.cuts for made in found.values())
    counted = sum(made.counted for made in found.values())
    assert sum(made.streams for made in found.values()) > 400
    assert cuts * 0.9 < counted <= cuts


def test_the_median_error_is_bounded(found: dict[str, Estimates]) -> None:
    """For each provider with enough streams to say so."""
    enough = {name: made for name, made in found.items() if len(made.errors) >= FEWEST}
    too_far = {
        name: round(made.median(), 3)
        for name, made in enough.items()
        if name not in UNSEEN and made.median() > MOST.get(name, 0.3)
    }
    assert too_far == {}
