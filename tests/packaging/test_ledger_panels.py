"""The money panels' statements, on a real PostgreSQL: each equals the ledger's own report to the nano-dollar."""

import asyncio
import re
from collections import defaultdict
from datetime import datetime
from math import ceil
from typing import Any

import pytest

from proxy.ledger.opening import open_ledger
from proxy.settings import LedgerSettings
from proxy.store.engine import Database
from proxy.store.reports import SpendRow
from proxy.store.schema import adjustments, budget_windows
from proxy.ui.forecast import forecast
from tests.packaging.seeded import (
    DAY_S,
    FROM_S,
    NOW_S,
    STATEMENTS,
    WILD,
    Seeded,
    nano,
    seeded,
)

MONTH_S = 1_793_491_200  # the first of November 2026
pytestmark = pytest.mark.xdist_group("ledger panels")  # one ledger for all of them
__all__ = ["seeded"]


@pytest.fixture
def ledger(seeded: Seeded) -> Seeded:
    """The ledger."""
    return seeded


def total(rows: list[SpendRow]) -> int:
    """The sum of a report."""
    return sum(nano(row.cost_usd) for row in rows)


# All of them


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_answers(ledger: Seeded, name: str) -> None:
    """With rows, as Grafana wants them: a time, a name and a value where they are drawn over time."""
    rows = ledger.panel(name)

    assert rows
    if STATEMENTS[name].raw["format"] == "time_series":
        assert list(rows[0]) == ["time", "metric", "value"]
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_takes_any_name(ledger: Seeded, name: str) -> None:
    """What a variable holds comes from calls: it is a value, and never a part of the statement."""
    for row in ledger.panel(name, team=(WILD, "search.*"), model=("x'",), upstream=("a", "b'; --")):
        assert row.get("Team", row.get("team", WILD)) in {WILD, "search.*"}


def test_a_chosen_team_is_all_that_is_shown(ledger: Seeded) -> None:
    rows = ledger.panel("spend: By team, model and upstream", team=(WILD,))

    assert [(row["Team"], nano(row["Cost"]), row["Share"]) for row in rows] == [(WILD, 12_345, 1)]


# Spend


def test_today_and_this_month_are_the_reports(ledger: Seeded) -> None:
    [shown] = ledger.panel("spend: Spend")
    today = NOW_S // DAY_S * DAY_S
    month, last_month = MONTH_S, MONTH_S - 31 * DAY_S
    spans = {
        "Today": (today, NOW_S),
        "Yesterday": (today - DAY_S, today - 1),
        "This month": (month, NOW_S),
        "Last month": (last_month, month - 1),
    }

    for name, span in spans.items():
        assert nano(shown[name]) == total(ledger.report("team", *span)) > 0, name
    unpriced = sum(row.unpriced or 0 for row in ledger.report("team", month, NOW_S))
    assert shown["Unpriced calls this month"] == unpriced


def test_the_forecast_is_that_of_the_page(ledger: Seeded) -> None:
    """What is spent, the rest of today, and the days to come like the same weekdays of four weeks."""
    today = NOW_S // DAY_S * DAY_S
    by_day = {
        int(datetime.fromisoformat(row.group["day"] + "T00:00Z").timestamp()): nano(row.cost_usd)
        for row in ledger.report("day", today - 28 * DAY_S, NOW_S)
    }
    expected = forecast(by_day, MONTH_S, MONTH_S + 30 * DAY_S, NOW_S)
    [shown] = ledger.panel("spend: Spend, B")

    assert expected is not None
    assert float(shown["Forecast for this month"]) == pytest.approx(expected / 1e9)


def test_the_time_shown_is_the_report_of_it(ledger: Seeded) -> None:
    [shown] = ledger.panel("spend: In the time shown")
    report = ledger.report("outcome")

    assert nano(shown["Spent"]) == total(report)
    assert shown["Calls"] == sum(row.calls for row in report)
    assert shown["Unpriced calls"] == sum(row.unpriced or 0 for row in report)
    answered = sum(row.calls for row in report if row.group["outcome"] != "refused")
    assert float(shown["Mean per call"]) == pytest.approx(total(report) / 1e9 / answered)


@pytest.mark.parametrize("column", ["team", "model", "upstream"])
def test_spend_by_day_is_the_report_by_day(ledger: Seeded, column: str) -> None:
    shown = ledger.panel(f"spend: By {column}")
    report = ledger.report(f"day,{column}")

    assert {(str(r["time"].date()), r["metric"]): nano(r["value"]) for r in shown} == {
        (row.group["day"], row.group[column]): nano(row.cost_usd) for row in report
    }


def test_where_the_money_comes_from_is_the_report_by_all_three(ledger: Seeded) -> None:
    shown = ledger.panel("spend: By team, model and upstream")
    report = ledger.report("team,model,upstream")

    columns = ("Calls", "Input tokens", "Output tokens")
    assert {
        (r["Team"], r["Model"], r["Upstream"]): (nano(r["Cost"]), *(r[c] for c in columns))
        for r in shown
    } == {
        tuple(row.group.values()): (
            nano(row.cost_usd),
            row.calls,
            row.input_tokens,
            row.output_tokens,
        )
        for row in report
    }
    assert float(sum(row["Share"] for row in shown)) == pytest.approx(1)
    assert [nano(row["Cost"]) for row in shown] == sorted(
        (nano(r["Cost"]) for r in shown), reverse=True
    )


def test_workflows_are_the_report_of_whole_days(ledger: Seeded) -> None:
    shown = ledger.panel("spend: By workflow")
    end = (NOW_S // DAY_S + 1) * DAY_S - 1
    report = ledger.report("team,workflow", FROM_S // DAY_S * DAY_S, end)

    assert {(r["Team"], r["Workflow"]): (nano(r["Cost"]), r["Calls"]) for r in shown} == {
        tuple(row.group.values()): (nano(row.cost_usd), row.calls) for row in report
    }


def test_cost_per_call_is_that_of_the_calls_with_their_corrections(ledger: Seeded) -> None:
    by_model: defaultdict[str, list[int]] = defaultdict(list)
    for row in ledger.shown_calls():
        if row["outcome"] != "refused":
            by_model[row["model"]].append(row["nano"])
    shown = ledger.panel("spend: Cost per call")

    assert {
        r["Model"]: (
            r["Calls"],
            *(round(float(r[p]) * 1e9) for p in ("p50", "p95", "Dearest")),
            nano(r["Cost"]),
        )
        for r in shown
    } == {
        model: (len(costs), at(costs, 0.5), at(costs, 0.95), max(costs), sum(costs))
        for model, costs in by_model.items()
    }


def at(values: list[int], share: float) -> int:
    """A percentile that is one of the values."""
    return sorted(values)[ceil(share * len(values)) - 1]


def test_unpriced_calls_are_the_reports(ledger: Seeded) -> None:
    shown = ledger.panel("spend: Unpriced")
    report = ledger.report("model,upstream,team")

    assert {(r["Model"], r["Upstream"], r["Team"]): r["Unpriced calls"] for r in shown} == {
        tuple(row.group.values()): row.unpriced for row in report if row.unpriced
    }


# Budgets, prompts, the ledger itself


def test_windows_are_those_of_the_budgets(ledger: Seeded) -> None:
    """What the admin API says of the present windows is among them."""

    async def ask() -> list[Any]:
        database = Database(ledger.url)
        opened = open_ledger(database, LedgerSettings(), lambda *_: None)
        await opened.start()
        views = await opened.budgets()
        await opened.stop()
        await database.close()
        return list(views)

    shown = {
        (r["Budget"], r["Subject"], int(r["From"].timestamp()) if r["From"] else 0): r
        for r in ledger.panel("budgets: Windows")
    }
    by_key = {
        (r["budget_id"], r["subject"], r["starts_at"]): r for r in ledger.rows(budget_windows)
    }

    assert asyncio.run(ask())
    assert shown
    for key, row in shown.items():
        window = by_key[key]
        assert [nano(row[c]) for c in ("Spent", "Held", "Overdraft")] == [
            window[f"{c}_nano"] for c in ("spent", "held", "overdraft")
        ]
        assert row["Left"] == row["Limit"] - row["Spent"] - row["Held"]


def test_what_models_cost_is_the_report_by_model(ledger: Seeded) -> None:
    shown = {r["Model"]: r for r in ledger.panel("prompts: Models")}
    report = {
        r.group["model"]: r for r in ledger.report("model") if r.input_tokens + r.output_tokens
    }

    assert shown.keys() == report.keys()
    for model, row in report.items():
        assert nano(shown[model]["Cost"]) == nano(row.cost_usd)
        assert shown[model]["Input tokens"] == row.input_tokens
        cached = (row.cached_tokens or 0) / row.input_tokens if row.input_tokens else 0
        assert float(shown[model]["Cached"]) == pytest.approx(cached)


def test_caps_reached_are_those_of_the_calls(ledger: Seeded) -> None:
    expected: defaultdict[tuple[str, ...], list[bool]] = defaultdict(list)
    for row in ledger.shown_calls():
        if row["output_cap"] is not None and row["output_tokens"] > 0:
            key = (row["output_cap_source"], row["team"], row["model"])
            expected[key].append(row["output_tokens"] >= row["output_cap"])
    shown = ledger.panel("prompts: Answers that reached their cap")

    assert {
        (r["Set by"], r["Team"], r["Model"]): (r["Calls"], r["Reached the cap"]) for r in shown
    } == {key: (len(reached), sum(reached)) for key, reached in expected.items()}


def test_totals_agree_with_rows(ledger: Seeded) -> None:
    """The check that the dashboard makes is the ledger's own: also with corrections, not a nano-dollar off."""
    [shown] = ledger.panel("ledger: Totals against rows")

    assert shown["Totals less rows"] == 0
    assert ledger.rows(adjustments)


def test_corrections_are_the_entries(ledger: Seeded) -> None:
    rows = ledger.panel("ledger: Corrections")

    assert sum(nano(row["value"]) for row in rows) == sum(
        row["amount_nano"] for row in ledger.rows(adjustments)
    )


def test_outcomes_and_sources_are_those_of_the_calls(ledger: Seeded) -> None:
    outcomes: defaultdict[str, int] = defaultdict(int)
    for row in ledger.panel("ledger: Calls by outcome"):
        outcomes[row["metric"]] += int(row["value"])
    sent = [row for row in ledger.shown_calls() if row["attempts"]]
    shown = {r["Counts come from"]: r for r in ledger.panel("ledger: Counts by their source")}

    assert outcomes == {row.group["outcome"]: row.calls for row in ledger.report("outcome")}
    assert sum(r["Calls"] for r in shown.values()) == len(sent)
    assert sum(nano(r["Charged"]) for r in shown.values()) == sum(r["cost_nano"] for r in sent)


def test_no_statement_writes() -> None:
    """They are read-only by what they are; the role they run as could not do otherwise either."""
    for target in STATEMENTS.values():
        assert re.match(r"SELECT|WITH", target.query), str(target)
