"""The text that Prometheus scrapes."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.core.errors import LedgerError
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.families import Family, Snapshot, exposition, merged
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
