"""What was spent, grouped, from rollups and from calls."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.call import CallRecord, Outcome
from proxy.store.engine import Database
from proxy.store.reports import (
    BadCursor,
    GroupBy,
    Reports,
    SpendQuery,
    SpendRow,
    UnknownGroup,
    read_groups,
)
from tests.observe.samples import REFUSED, STARTED_US
from tests.store.filled import HOUR_US, a_call, fill

HOUR_S = STARTED_US // HOUR_US * 3600
DAY_S = STARTED_US // (24 * HOUR_US) * 86_400


def some_calls() -> list[CallRecord]:
    """Two teams, two models, three hours, one refused call and one that failed."""
    return [
        a_call(0, {"cost_nano": 1_000}, user="alice"),
        a_call(0, {"cost_nano": 2_000}, team="billing", user="bob"),
        a_call(1, {"cost_nano": 4_000, "model_served": "gpt-5"}, user="bob", status=500),
        a_call(
            30, {"cost_nano": 8_000, "price_source": "unpriced"}, tags=(("env", "dev"), ("x", "y"))
        ),
        replace(REFUSED, id="fb-0", outcome=Outcome.REFUSED),
    ]


async def costs(database: Database, groups: str, **query: Any) -> dict[tuple[str, ...], str]:
    page = await Reports(database).spend(SpendQuery(read_groups(groups), **query), 1000)
    return {tuple(row.group.values()): row.cost_usd for row in page.items}


async def test_spend_by_team_and_model(database: Database) -> None:
    """The dearest first; a call that was refused before a model answered counts by the model it asked for."""
    await fill(database, some_calls())

    page = await Reports(database).spend(SpendQuery((GroupBy.TEAM, GroupBy.MODEL)), 10)

    assert [(*row.group.values(), row.calls, row.cost_usd) for row in page.items] == [
        ("search", "gpt-5-mini-2026-08-07", 2, "0.000009"),
        ("search", "gpt-5", 1, "0.000004"),
        ("billing", "gpt-5-mini-2026-08-07", 1, "0.000002"),
        ("search", "gpt-5-mini", 1, "0.00"),
    ]


@pytest.mark.parametrize(
    "groups", ["", "team", "day,team", "day,model", "model,upstream", "user", "tag"]
)
async def test_without_the_parts_of_tokens_the_rest_is_the_same(
    database: Database, groups: str
) -> None:
    await fill(database, some_calls())
    reports, names = Reports(database), read_groups(groups)

    whole = await reports.spend(SpendQuery(names), 100)
    brief = await reports.spend(SpendQuery(names, parts=False), 100)

    left_out: dict[str, Any] = {
        "cached_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
    }
    if groups == "tag":  # from the calls: they are read anyway
        left_out = {}
    assert brief.items == [dataclasses.replace(row, **left_out) for row in whole.items]
    assert brief.costs_nano == whole.costs_nano


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("user", {("alice",): "0.000009", ("bob",): "0.000006"}),
        ("team,user", {("search", "alice"): "0.000009", ("search", "bob"): "0.000004", ("billing", "bob"): "0.000002"}),
        ("day", {("2026-11-18",): "0.000007", ("2026-11-19",): "0.000008"}),
        ("run", {("run-7",): "0.000015"}),
        ("tag", {("env=prod",): "0.000007", ("env=dev",): "0.000008", ("x=y",): "0.000008"}),
        ("outcome", {("completed",): "0.000015", ("refused",): "0.00"}),
        ("", {(): "0.000015"}),
    ],
)  # fmt: skip
async def test_spend_by_anything(
    database: Database, groups: str, expected: dict[tuple[str, ...], str]
) -> None:
    await fill(database, some_calls())

    assert await costs(database, groups) == expected


async def test_by_time_the_earliest_comes_first(database: Database) -> None:
    await fill(database, some_calls())

    page = await Reports(database).spend(SpendQuery((GroupBy.HOUR,)), 10)

    assert [row.group["hour"] for row in page.items] == [
        "2026-11-18T11:00:00Z",
        "2026-11-18T12:00:00Z",
        "2026-11-19T17:00:00Z",
    ]


def comparable(row: SpendRow) -> tuple[Any, ...]:
    return (tuple(row.group.items()), row.calls, row.input_tokens, row.output_tokens, row.cost_usd)


@pytest.mark.parametrize(
    "groups", ["team", "team,model,day", "upstream,endpoint,hour", "organisation", "team,key", "user,day", "workflow"]
)  # fmt: skip
async def test_rollups_and_calls_say_the_same(database: Database, groups: str) -> None:
    """A time that is no full hour is answered from the calls, and differs in nothing."""
    await fill(database, some_calls())
    reports = Reports(database)
    whole = SpendQuery(read_groups(groups), from_s=DAY_S)
    odd = SpendQuery(read_groups(groups), from_s=DAY_S + 1)

    from_rollups = (await reports.spend(whole, 100)).items
    from_calls = (await reports.spend(odd, 100)).items

    assert [comparable(row) for row in from_calls] == [comparable(row) for row in from_rollups]
    assert from_calls != []


async def test_every_count_of_a_group(database: Database) -> None:
    await fill(database, some_calls())

    [row] = (await Reports(database).spend(SpendQuery((GroupBy.ORGANISATION,)), 10)).items

    assert row == SpendRow(
        group={"organisation": "acme"},
        calls=5,
        errors=2,
        unpriced=1,
        input_tokens=4 * 1234,
        cached_tokens=4 * 200,
        cache_write_tokens=4 * 34,
        output_tokens=4 * 100,
        reasoning_tokens=4 * 30,
        cost_usd="0.000015",
    )


async def test_counts_that_a_rollup_does_not_keep_are_absent_not_zero(database: Database) -> None:
    await fill(database, some_calls())

    page = await Reports(database).spend(SpendQuery((GroupBy.USER,)), 10)

    assert [row.errors for row in page.items] == [None, None]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"team": "billing"}, "0.000002"),
        ({"model": "gpt-5"}, "0.000004"),
        ({"upstream": "openai"}, "0.000015"),
        ({"from_s": HOUR_S + 3600}, "0.000012"),
        ({"to_s": HOUR_S + 3600}, "0.000003"),
        ({"from_s": HOUR_S + 3600, "to_s": HOUR_S + 7200}, "0.000004"),
    ],
)
@pytest.mark.parametrize("groups", ["organisation", "run"])
async def test_filters(
    database: Database, groups: str, query: dict[str, Any], expected: str
) -> None:
    """From rollups and from calls alike."""
    await fill(database, some_calls())

    assert list((await costs(database, groups, **query)).values()) == [expected]


@pytest.mark.parametrize("groups", ["user,team", "tag", "day,user", "hour"])
async def test_pages_of_groups_cover_each_once(database: Database, groups: str) -> None:
    """In the order of the whole, ties of cost among them."""
    await fill(database, [*some_calls(), a_call(0, {"cost_nano": 2_000}, team="also", user="bob")])
    reports, query = Reports(database), SpendQuery(read_groups(groups))
    everything = (await reports.spend(query, 100)).items

    seen, cursor = [], None
    while True:
        page = await reports.spend(query, 1, cursor)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == everything
    assert len(seen) > 2


@pytest.mark.parametrize("cursor", ["", "nonsense", "bnVsbA==", "WzEsIFtdXQ==", "WyJ4IiwgWyJhIl1d"])
async def test_a_made_up_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await Reports(database).spend(SpendQuery((GroupBy.TEAM,)), 10, cursor)


async def test_no_calls_are_no_groups(database: Database) -> None:
    assert await costs(database, "team") == {}


def test_what_can_not_be_grouped_by_is_named_with_what_can() -> None:
    with pytest.raises(UnknownGroup, match=r"teem; there are day, endpoint, hour, key, model"):
        read_groups("teem,model")


async def test_the_sum_over_groups_is_the_sum_over_calls(database: Database) -> None:
    """To the nano-dollar, with money that a float can't hold."""
    records = [a_call(n, {"cost_nano": 9_007_199_254_740_993}) for n in range(3)]
    await fill(database, records)

    [cost] = (await costs(database, "team")).values()

    assert Decimal(cost) == Decimal("27021597.764222979")
