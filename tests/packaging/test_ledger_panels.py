"""The money panels' statements, on a real PostgreSQL: each equals the ledger's own report to the nano-dollar."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, Update, select, update

from proxy.core.money import NANO_PER_USD
from proxy.ledger import open_ledger
from proxy.ledger.demo import DemoPlan, seed
from proxy.settings import LedgerSettings
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.reports import Reports, SpendQuery, SpendRow, read_groups
from proxy.store.schema import adjustments, budget_windows, calls
from tests.ledger.past import prices, reprice
from tests.ledger.samples import NOON_US
from tests.packaging import boards
from tests.postgres import new_database
from tests.store.filled import a_call, fill

Row = dict[str, Any]
HOUR_S, DAY_S = 3600, 86_400
NOW_S = NOON_US // 1_000_000 + 1234
FROM_S = NOW_S - 10 * DAY_S
WILD = "it's $q$ a (team) ' OR '1'='1"
STATEMENTS = {
    f"{t.board}: {t.title}" + ("" if t.letter == "A" else f", {t.letter}"): t for t in boards.sql()
}
WEEK_S = 7 * DAY_S
MONTH_S = 1_793_491_200  # the first of November 2026


@dataclass(frozen=True)
class Seeded:
    """A ledger of 45 days with corrections in it, as the panels and as the reports see it."""

    url: str

    def panel(self, name: str, **chosen: tuple[str, ...]) -> list[Row]:
        """The rows of a panel as Grafana would get them at ``NOW_S``, with the last ten days shown."""
        text = boards.as_sql(STATEMENTS[name].query, FROM_S, NOW_S, **chosen)
        text = text.replace("now()", f"to_timestamp({NOW_S})")
        return asyncio.run(self._fetch(text))

    async def _fetch(self, text: str) -> list[Row]:
        connection = await asyncpg.connect(
            self.url, server_settings={"default_transaction_read_only": "on"}
        )
        try:
            return [dict(row) for row in await connection.fetch(text)]
        finally:
            await connection.close()

    def report(
        self, groups: str, from_s: int = FROM_S // HOUR_S * HOUR_S, to_s: int = NOW_S
    ) -> list[SpendRow]:
        """The same from ``farebox report`` and the admin API, up to the end of the hour."""
        to_s = (to_s // HOUR_S + 1) * HOUR_S

        async def ask() -> list[SpendRow]:
            database = Database(self.url)
            query = SpendQuery(read_groups(groups), from_s, to_s)
            page = await Reports(database).spend(query, 10_000)
            await database.close()
            return page.items

        return asyncio.run(ask())

    def rows(self, table: Any) -> list[Row]:
        """A table's rows."""

        async def ask() -> list[Row]:
            database = Database(self.url)
            found = [dict(row) for row in await database.fetch(select(table))]
            await database.close()
            return found

        return asyncio.run(ask())

    def shown_calls(self) -> list[Row]:
        """The calls of the time that is shown, with their corrections."""
        added: defaultdict[str, int] = defaultdict(int)
        for entry in self.rows(adjustments):
            added[entry["call_id"]] += entry["amount_nano"]
        return [
            row
            | {
                "nano": row["cost_nano"] + added[row["id"]],
                "model": row["model_served"] or row["model_requested"],
            }
            for row in self.rows(calls)
            if FROM_S // HOUR_S * HOUR_S <= row["started_at_us"] / 1e6 <= NOW_S
        ]


@pytest.fixture(scope="module")
def ledger(postgres_server: str) -> Iterator[Seeded]:
    """A made-up company's calls, some priced anew, and a team whose name is meant to break a query."""

    async def make() -> str:
        async with new_database(postgres_server, lasting=True) as url:
            database = Database(url)
            await migrate.upgrade(database)
            await seed(
                database,
                DemoPlan(days=45, calls=2500, seed=5, now_us=NOW_S * 1_000_000),
                [],
                lambda _: None,
            )
            await reprice(database, prices(any=("3", "4")))
            shown = (NOW_S - DAY_S) * 1_000_000 - a_call().started_at_us
            hours = shown // 3_600_000_000
            unpriced = {"price_source": "unpriced", "cost_nano": 0, "model_served": "unheard-of"}
            await fill(
                database,
                [a_call(hours, {"cost_nano": 12_345}, team=WILD), a_call(hours, unpriced)],
            )
            made_at = update(adjustments).values(created_at_us=(NOW_S - HOUR_S) * 1_000_000)
            await database.run(lambda connection: _execute(connection, made_at))
            await database.close()
            return url

    url = asyncio.run(make())
    yield Seeded(url)

    async def drop() -> None:
        connection = await asyncpg.connect(f"{postgres_server}/postgres")
        await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        await connection.close()

    asyncio.run(drop())


def _execute(connection: Connection, statement: Update) -> None:
    connection.execute(statement)


def nano(usd: Any) -> int:
    """An amount as a panel or a report shows it; it must be whole nano-dollars."""
    exact = Decimal(usd) * NANO_PER_USD
    assert exact == int(exact)
    return int(exact)


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


def test_the_forecast_takes_each_day_to_come_for_its_weekday(ledger: Seeded) -> None:
    """What is spent, the rest of today, and the days to come like the same weekdays of four weeks."""
    today = NOW_S // DAY_S * DAY_S
    day = {
        int(datetime.fromisoformat(row.group["day"] + "T00:00Z").timestamp()): nano(row.cost_usd)
        for row in ledger.report("day", today - 28 * DAY_S, NOW_S)
    }
    expected = float(sum(cost for start, cost in day.items() if start >= MONTH_S))
    for start in range(today, MONTH_S + 30 * DAY_S, DAY_S):
        past = range(today - 28 * DAY_S, today, DAY_S)
        alike = [day.get(d, 0) for d in past if not (start - d) % WEEK_S]
        left = (today + DAY_S - NOW_S) / DAY_S if start == today else 1
        expected += sum(alike) / len(alike) * left
    [shown] = ledger.panel("spend: Spend, B")

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
