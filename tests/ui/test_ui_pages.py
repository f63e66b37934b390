"""What the pages say, and that their money is the ledger's."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from proxy.core.call import CapSource, Outcome
from proxy.core.pricing import ChargeLine
from proxy.store.call_filter import CallFilter
from proxy.store.reports import GroupBy, SpendQuery
from proxy.ui import words
from tests.observe.samples import ATTEMPT, RECORD
from tests.store.filled import a_call
from tests.ui.conftest import Site


async def test_an_empty_ledger_says_what_to_do_next(site: Site) -> None:
    browser = await site.admin()

    await browser.get("/ui")
    assert "Make a key" in browser.text()
    await browser.get("/ui/calls")
    assert "No call matches" in browser.text()
    await browser.get("/ui/models")
    assert "No model was called" in browser.text()
    await browser.get("/ui/keys")
    assert "Make the first key" in browser.text()


async def test_overview_models_report_and_export_are_the_same_to_the_nano_dollar(
    site: Site,
) -> None:
    await site.fill(*(a_call(n) for n in range(-30, 3)))
    browser = await site.admin()

    await browser.get("/ui?by=model")
    shown = browser.attribute("#by-day .quiet", "title")
    report = await site.deps.records.spend(SpendQuery((GroupBy.TEAM,)), 100)

    assert Decimal(shown.replace("$", "")) == sum(Decimal(r.cost_usd) for r in report.items)
    series = [n.attributes["title"] or "" for n in browser.page.css(".keys .n")]
    assert sum(Decimal(s.replace("$", "")) for s in series) == sum(
        Decimal(r.cost_usd) for r in report.items
    )
    exported = [row async for rows in site.deps.records.export(CallFilter()) for row in rows]
    assert sum(Decimal(row.cost_usd) for row in exported) == Decimal(shown.replace("$", ""))
    await browser.get("/ui/models")
    assert browser.attribute("tfoot td", "title") == shown


@pytest.mark.parametrize("day", [1, 2])
async def test_a_month_adds_up_by_days_also_when_it_has_just_begun(site: Site, day: int) -> None:
    """A chart of it alone shows hours then."""
    site.state["now_s"] = datetime(2026, 12, day, 2, 2, tzinfo=UTC).timestamp()
    await site.fill()
    browser = await site.admin()

    await browser.get("/ui?range=month")

    steps = browser.attribute(".months .now", "points").split()
    assert steps[-1].startswith(f"{100 * day / 31:.2f},")


async def test_a_chart_has_a_bar_for_each_day_and_a_table_that_says_the_same(site: Site) -> None:
    await site.fill()
    browser = await site.admin()

    await browser.get("/ui?range=7d")

    assert len(browser.page.css(".plot .col")) == 7
    assert len(browser.rows("details table")) == 7


async def test_the_state_is_in_the_address(site: Site) -> None:
    await site.fill()
    browser = await site.admin()

    await browser.get("/ui?range=7d&by=model")
    here = [n.text() for n in browser.page.css("main [aria-current]")]
    assert here == ["7 days", "Model"]
    await browser.get("/ui?from=2026-01-01&to=2026-01-31")
    chosen = [n.attributes["value"] for n in browser.page.css(".dates input[type=date]")]
    assert chosen == ["2026-01-01", "2026-01-31"]


@pytest.mark.parametrize(
    "query", ["range=x", "from=x", "from=2026-01-31&to=2026-01-01", "by=x", "to=9999-12-31"]
)
async def test_what_an_address_says_wrongly_is_as_if_it_said_nothing(
    site: Site, query: str
) -> None:
    browser = await site.admin()

    await browser.get(f"/ui?{query}")
    await browser.get(f"/ui/models?{query}")
    await browser.get(f"/ui/calls?{query}")


# Calls


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("team=search", 3),
        ("team=other", 0),
        ("model=" + RECORD.model_requested, 3),
        ("user=alice", 1),
        ("outcome=completed", 3),
        ("outcome=lost", 0),
        ("status=200", 3),
        ("status=500", 0),
        ("tag=env%3Dprod", 1),
        ("upstream=" + ATTEMPT.upstream, 3),
        ("endpoint=chat.completions", 3),
    ],
)
async def test_calls_are_found_by_what_is_known_of_them(site: Site, query: str, found: int) -> None:
    await site.fill(
        a_call(team="search", user="x", tags=()),
        a_call(1, team="search", user="alice", tags=()),
        a_call(2, team="search", user="x", tags=(("env", "prod"),)),
    )
    browser = await site.admin()

    await browser.get(f"/ui/calls?{query}")

    assert len(browser.rows()) == found


@pytest.mark.parametrize("query", ["status=abc", "outcome=nonsense"])
async def test_a_filter_that_can_not_be_understood_is_told(site: Site, query: str) -> None:
    browser = await site.admin()

    await browser.get(f"/ui/calls?{query}")

    assert "left out" in browser.text("[role=alert]")


async def test_calls_come_in_pages_the_newest_first_and_none_twice(site: Site) -> None:
    await site.fill(*(a_call(-n, user=f"u{n}") for n in range(120)))
    browser = await site.admin()
    seen: list[str] = []
    path = "/ui/calls?range=30d"
    while path:
        await browser.get(path)
        seen += [row[4] for row in browser.rows()]
        path = browser.attribute('a[rel="next"]', "href")

    assert seen == [f"u{n}" for n in range(120)]


async def test_a_call_shows_its_charge_line_by_line_and_the_lines_add_up(site: Site) -> None:
    lines = (ChargeLine("input", 120, "1250"), ChargeLine("output", 34, "10000.5"))
    call = a_call(0, {"charge": lines, "cost_nano": 490_017})
    await site.fill(call)
    browser = await site.admin()

    await browser.get(f"/ui/calls/{call.id}")

    amounts = [Decimal(row[3].replace("$", "")) for row in browser.rows("table.charge")]
    total = browser.text("table.charge tfoot b").replace("$", "")
    assert amounts == [Decimal("0.00015"), Decimal("0.000340017")]
    assert sum(amounts) == Decimal(total)
    assert "Attempt 1" in browser.text("#times ~ .scroll")


async def test_a_call_says_who_capped_it(site: Site) -> None:
    call = a_call(output_cap=1000, output_cap_source=CapSource.TEAM)
    await site.fill(call)
    browser = await site.admin()

    await browser.get(f"/ui/calls/{call.id}")

    assert "1,000" in browser.text()
    assert "set by the team" in browser.text()


async def test_what_users_name_is_shown_as_text(site: Site) -> None:
    evil = '<script>alert(1)</script>"&'
    call = a_call(user=evil, workflow=evil, model_requested=evil, tags=((evil, evil),))
    await site.fill(call)
    browser = await site.admin()

    for path in ("/ui?by=workflow", "/ui/calls", f"/ui/calls/{call.id}", "/ui/models"):
        await browser.get(path)
        assert "<script>alert" not in browser.answer.text


# Models


async def test_models_are_compared_by_call_and_by_output(site: Site) -> None:
    await site.fill(a_call(), a_call(1), a_call(2, status=500, outcome=Outcome.UPSTREAM_FAILED))
    browser = await site.admin()

    await browser.get("/ui/models")
    (row,) = browser.rows()

    cost = RECORD.cost_nano
    assert row[1] == words.dollars(3 * cost)
    assert row[2:4] == ["3", words.fine(cost)]
    assert row[-1] == "33.33 %"


async def test_calls_that_failed_before_a_model_was_served_count_with_its_dated_name(
    site: Site,
) -> None:
    failed = a_call(
        1,
        {"model_served": "", "usage": type(ATTEMPT.usage)(), "cost_nano": 0, "charge": ()},
        model_requested="gpt-4o",
        status=503,
        outcome=Outcome.UPSTREAM_FAILED,
    )
    served = a_call(0, {"model_served": "gpt-4o-2024-08-06"}, model_requested="gpt-4o")
    await site.fill(served, failed)
    browser = await site.admin()

    await browser.get("/ui/models")
    (row,) = browser.rows()

    assert row[0].startswith("gpt-4o-2024-08-06")
    assert (row[2], row[-1]) == ("2", "50.00 %")


# Problems


async def test_a_missing_page_looks_like_the_others(site: Site) -> None:
    browser = await site.admin()

    await browser.get("/ui/nothing", 404)

    assert "Nothing here" in browser.text("h1")


async def test_a_ledger_that_is_away_is_told(site: Site) -> None:
    browser = await site.admin()
    await site.database.close()

    await browser.get("/ui/calls", 503)

    assert "does not answer" in browser.text("h1")
    assert browser.answer.headers["retry-after"] == "5"
