"""The text that Prometheus scrapes."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from proxy.core.errors import LedgerError
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.exposition import accepts_openmetrics, exposition
from proxy.observe.families import Family, Snapshot, merged
from proxy.observe.metrics import Metrics
from proxy.observe.page import MetricsPage
from tests.observe.samples import finished
from tests.prometheus import promtool


async def no_budgets() -> Sequence[BudgetWindows]:
    return []


async def no_ledger() -> Sequence[BudgetWindows]:
    raise LedgerError("the database does not answer")


async def test_every_declared_metric_is_on_the_page() -> None:
    """Also before the first call, so that a dashboard finds its metrics."""
    page = (await MetricsPage(Metrics(), no_budgets).text()).decode()

    described = {family.name for family in text_string_to_metric_families(page)}
    expected = {family.name.removesuffix("_total") for family in catalogue.FAMILIES}
    assert expected <= described


async def test_the_process_is_described_too() -> None:
    page = await MetricsPage(Metrics(), no_budgets).text()

    assert b"process_resident_memory_bytes" in page


async def test_a_ledger_that_is_down_takes_only_the_budgets_from_the_page() -> None:
    metrics = Metrics()
    metrics.call_finished(finished())

    page = await MetricsPage(metrics, no_ledger).text()

    assert b"farebox_calls_total{" in page
    assert b"farebox_budget_spent_usd{" not in page


def test_label_values_are_escaped() -> None:
    """Quotes, backslashes and line ends in a model's name don't break the page."""
    wild = 'a"b\\c\nd'
    family = Family("x_total", "counter", "What\nelse.", ("model",))

    page = exposition([family], {"x_total": {(wild,): 1}}).decode()

    [parsed] = text_string_to_metric_families(page)
    assert parsed.samples[0].labels == {"model": wild}


def test_values_of_processes_add_up() -> None:
    one: Snapshot = {"a": {("x",): 1, ("y",): 2}}
    other: Snapshot = {"a": {("x",): 10}, "h": {(): [1, 0, 5]}}

    total = merged([one, other, {"h": {(): [0, 2, 7]}}])

    assert total == {"a": {("x",): 11, ("y",): 2}, "h": {(): [1, 2, 12]}}


def test_merging_leaves_what_it_merges_alone() -> None:
    one: Snapshot = {"h": {(): [1, 2]}}

    merged([one, one])

    assert one == {"h": {(): [1, 2]}}


def test_values_of_different_kinds_do_not_add_up() -> None:
    with pytest.raises(TypeError):
        merged([{"a": {(): 1}}, {"a": {(): [1]}}])


def test_promtool_finds_nothing_to_complain_of() -> None:
    """Prometheus' own linter reads the page."""
    metrics = Metrics()
    metrics.call_finished(finished())
    page = asyncio.run(MetricsPage(metrics, no_budgets).text())

    promtool("check", "metrics", stdin=page.decode())


# OpenMetrics


async def test_openmetrics_has_the_same_series_and_the_calls_to_look_at() -> None:
    """Each bucket of time names the call that fell into it last; the figures are those of the classic page."""
    metrics = Metrics()
    metrics.call_finished(finished(id="fb-first"))
    metrics.call_finished(finished(id="fb-second"))
    page = MetricsPage(metrics, no_budgets)

    classic = list(text_string_to_metric_families((await page.text()).decode()))
    rich = list(openmetrics((await page.text(openmetrics=True)).decode()))  # type: ignore[no-untyped-call]

    assert series(rich) == series(classic)
    found = [s.exemplar for f in rich for s in f.samples if s.exemplar]
    assert [(e.labels, e.value, float(e.timestamp)) for e in found] == [
        ({"call_id": "fb-second"}, 2.0005, 1_795_000_002.0),
        ({"call_id": "fb-second"}, 0.4503, 1_795_000_000.45),
    ]


def series(families: list[Metric]) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """What there is on a page, but for what each scrape changes."""
    return {(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        # What Prometheus 2.42 and 3.5 send.
        (
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            True,
        ),
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1"
            ),
            True,
        ),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", False),
    ],
)
def test_openmetrics_is_for_those_who_prefer_it(accept: str, expected: bool) -> None:
    assert expected == accepts_openmetrics(accept)


def test_bounds_are_written_as_prometheus_stores_them() -> None:
    """Else a query that names a bound would find it in one version of Prometheus and not in the next."""
    family = Family("h", "histogram", "H.", (), 1, (0.5, 1, 16_000, 1_000_000))

    page = exposition([family], {"h": {(): [1, 1, 1, 1, 1, 9]}}).decode()

    shown = [line.split('"')[1] for line in page.splitlines() if "le=" in line]
    assert shown == ["0.5", "1.0", "16000.0", "1e+06", "+Inf"]
