"""Everything that is counted or logged is documented."""

from pathlib import Path

import pytest

from proxy.observe import catalogue
from proxy.observe.call_lines import call_fields
from proxy.observe.families import Family
from proxy.observe.metrics import KINDS
from tests.observe.samples import finished

DOCS = Path(__file__).parents[2] / "docs"
METRICS, LOGS = (DOCS / "metrics.md").read_text(), (DOCS / "logs.md").read_text()


@pytest.mark.parametrize("family", catalogue.FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_documented_with_its_kind_and_labels(family: Family) -> None:
    rows = [line for line in METRICS.splitlines() if line.startswith(f"| `{family.name}` |")]

    assert len(rows) == 1
    assert f"| {family.kind} |" in rows[0]
    for label in set(family.labels) - set(catalogue.BY_CALL) - set(catalogue.BY_BUDGET):
        assert f"`{label}`" in rows[0]


def test_no_metric_is_documented_that_is_not_there() -> None:
    documented = {
        line.split("`")[1] for line in METRICS.splitlines() if line.startswith("| `farebox_")
    }

    assert documented == {family.name for family in catalogue.FAMILIES}


@pytest.mark.parametrize("word", [*catalogue.BY_CALL, *catalogue.BY_BUDGET, *KINDS])
def test_every_label_and_kind_is_documented(word: str) -> None:
    assert f"`{word}`" in METRICS


@pytest.mark.parametrize("field", call_fields(finished()))
def test_every_field_of_a_calls_line_is_documented(field: str) -> None:
    table = [line.split("|")[1] for line in LOGS.splitlines() if line.startswith("| `")]

    assert any(f"`{field}`" in names for names in table)
