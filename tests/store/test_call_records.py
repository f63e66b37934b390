"""Calls as they were recorded: pages, filters, one with its attempts, exports."""

from dataclasses import asdict
from typing import Any

import pytest
from msgspec.structs import replace

from proxy.core.call import Outcome
from proxy.core.present import call_row, shown
from proxy.core.pricing import ChargeLine
from proxy.core.usage import Usage, UsagePart
from proxy.store.call_filter import CallFilter
from proxy.store.engine import Database
from proxy.store.records import EXPORT_PAGE, Records
from proxy.store.rows import CallDetail
from tests.observe.samples import ATTEMPT, RECORD, REFUSED, STARTED_US
from tests.store.filled import HOUR_US, a_call, fill

# The contract of the admin API: each call row gives at least these.
PROMISED = [
    "id",
    "upstream_call_id",
    "started_at",
    "team",
    "key",
    "user",
    "workflow",
    "run",
    "tags",
    "endpoint",
    "model_requested",
    "model_served",
    "upstream",
    "status",
    "stream",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "usage_source",
    "output_cap",
    "output_cap_source",
    "cost_usd",
    "price_source",
    "price_version",
    "duration_ms",
    "time_to_first_byte_ms",
    "attempts",
    "outcome",
]


async def ids(records: Records, wanted: CallFilter) -> list[str]:
    page = await records.calls(wanted, 1000)
    return [row.id for row in page.items]


async def test_a_row_reads_as_it_was_written(database: Database) -> None:
    """From the database or from the call's record: the same row, with every field that is promised."""
    [record] = await fill(database, [RECORD])

    page = await Records(database).calls(CallFilter(), 10)

    assert page.items == [shown(record)]
    row = asdict(page.items[0])
    assert row == call_row(record)
    assert set(PROMISED) <= set(row)
    assert row["started_at"] == "2026-11-18T11:06:40.000Z"
    assert row["cost_usd"] == "0.001234567"
    assert row["tags"] == {"env": "prod"}
    assert (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (1234, 100, 30)
    assert (row["duration_ms"], row["time_to_first_byte_ms"]) == (2000.5, 450.3)


async def test_a_refused_call_has_a_row_without_attempts(database: Database) -> None:
    [record] = await fill(database, [REFUSED])

    detail = await Records(database).call(record.id)

    assert detail == CallDetail(**asdict(shown(record)), attempt_rows=[], adjustments=[])
    assert detail is not None
    assert (detail.usage_source, detail.cost_usd) == ("none", "0.00")


async def test_one_call_comes_with_its_attempts_and_charge_lines(database: Database) -> None:
    """Each attempt in the order it was sent, with the lines that its charge is made of."""
    failed = replace(ATTEMPT, upstream="azure", error="status_500", usage_raw="", charge=())
    answered = replace(ATTEMPT, number=2, flags=("cut_at_cap", "usage_inconsistent"))
    [record] = await fill(database, [replace(RECORD, attempts=(failed, answered))])

    detail = await Records(database).call(record.id)

    assert detail is not None
    first, second = detail.attempt_rows
    assert (first.number, first.upstream, first.error, first.usage_raw) == (
        1,
        "azure",
        "status_500",
        None,
    )
    assert [asdict(line) for line in second.charge] == [
        {"what": "input", "quantity": 1000, "price_nano_usd": "250", "model": ""},
        {"what": "output", "quantity": 70, "price_nano_usd": "2000", "model": ""},
    ]
    assert second.flags == ["cut_at_cap", "usage_inconsistent"]
    assert second.usage["cached_input"] == 200
    assert second.usage_raw == {"prompt_tokens": 1234}


async def test_a_call_that_nobody_made_is_none(database: Database) -> None:
    assert await Records(database).call("fb-nobody") is None


async def test_pages_cover_everything_once_and_new_calls_shift_nothing(database: Database) -> None:
    """Newest first, by key: a call that comes in between pages appears in none of the later ones."""
    written = await fill(database, [a_call(number) for number in range(7)])
    records = Records(database)

    first = await records.calls(CallFilter(), 3)
    await fill(database, [a_call(100)])
    second = await records.calls(CallFilter(), 3, first.next_cursor)
    third = await records.calls(CallFilter(), 3, second.next_cursor)

    seen = [row.id for page in (first, second, third) for row in page.items]
    assert seen == [record.id for record in reversed(written)]
    assert third.next_cursor is None


async def test_a_page_that_ends_with_the_last_call_has_no_next(database: Database) -> None:
    await fill(database, [a_call(number) for number in range(3)])

    page = await Records(database).calls(CallFilter(), 3)

    assert (len(page.items), page.next_cursor) == (3, None)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"team": "search"}, {"team": "search"}),
        ({"organisation": "acme"}, {"organisation": "acme"}),
        ({"key": "k1"}, {"key": "k1"}),
        ({"user": "u%"}, {"user": "u%"}),
        ({"workflow": "w"}, {"workflow": "w"}),
        ({"run": "r"}, {"run": "r"}),
        ({"upstream": "up"}, {"attempt": {"upstream": "up"}}),
        ({"endpoint": "embeddings"}, {"endpoint": "embeddings"}),
        ({"outcome": "client_left"}, {"outcome": Outcome.CLIENT_LEFT}),
        ({"status": 500}, {"status": 500}),
        ({"model": "served"}, {"attempt": {"model_served": "served"}}),
        ({"model": "asked"}, {"model_requested": "asked"}),
        ({"tag": "a=b"}, {"tags": (("a", "b"), ("c", "d"))}),
        ({"tag": "a"}, {"tags": (("a", "b"),)}),
        ({"tag": 'q"\\=ü'}, {"tags": (('q"\\', "ü"),)}),
        ({"tag": "p=100%_"}, {"tags": (("p", "100%_"),)}),
    ],
    ids=str,
)
async def test_a_filter_keeps_what_matches_and_nothing_else(
    database: Database, wanted: dict[str, Any], matches: dict[str, Any]
) -> None:
    """Names that mean something to SQL's LIKE are names like any other."""
    other: dict[str, Any] = {
        "team": "other",
        "organisation": "other",
        "tags": (("x", 'a="a":"b"'), ("p", "100XX"), ("aa", "bb")),
        "user": "user",
    }
    match, _ = await fill(
        database, [a_call(1, **{"team": "search", **matches}), a_call(2, **other)]
    )

    assert await ids(Records(database), CallFilter(**wanted)) == [match.id]


async def test_from_is_inclusive_and_to_is_not(database: Database) -> None:
    first, second, _ = await fill(database, [a_call(number) for number in range(3)])
    wanted = CallFilter(from_us=STARTED_US, to_us=STARTED_US + 2 * HOUR_US)

    assert await ids(Records(database), wanted) == [second.id, first.id]


async def test_an_export_gives_every_call_once_in_the_order_of_time(database: Database) -> None:
    """Page by page, so that memory stays flat however many there are."""
    written = await fill(database, [a_call(number) for number in range(5)])
    records = Records(database)

    pages = [page async for page in records.export(CallFilter(team="search"))]

    assert [row.id for page in pages for row in page] == [record.id for record in written]
    assert await records.count(CallFilter(team="search")) == 5


async def test_an_export_goes_on_where_a_page_was_full(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.records.EXPORT_PAGE", 2)
    written = await fill(database, [a_call(number) for number in range(4)])

    pages = [page async for page in Records(database).export(CallFilter())]

    assert [len(page) for page in pages] == [2, 2]
    assert [row.id for page in pages for row in page] == [record.id for record in written]
    assert EXPORT_PAGE == 1000


async def test_parts_and_what_the_provider_stated_stand_beside_the_charge(
    database: Database,
) -> None:
    """In the attempt as they were, and summed up in the call."""
    parts = (
        UsagePart("", Usage(input=900, output=100)),
        UsagePart("opus", Usage(input=100), "flex"),
    )
    lines = (ChargeLine("input", 900, "250", "sonnet"), ChargeLine("input", 100, "5000", "opus"))
    first = replace(ATTEMPT, parts=parts, charge=lines, stated_nano=700, list_nano=725_000)
    second = replace(ATTEMPT, number=2, list_nano=275_000)
    [record] = await fill(database, [replace(RECORD, attempts=(first, second))])

    detail = await Records(database).call(record.id)

    assert detail is not None
    one, two = detail.attempt_rows
    assert (detail.stated_usd, detail.list_usd) == ("0.0000007", "0.001")
    assert (one.stated_usd, one.list_usd, two.stated_usd) == ("0.0000007", "0.000725", None)
    assert [line.model for line in one.charge] == ["sonnet", "opus"]
    assert [asdict(part) for part in one.parts] == [
        {"model": "", "usage": {"input": 900, "output": 100}, "service_tier": ""},
        {"model": "opus", "usage": {"input": 100}, "service_tier": "flex"},
    ]
    assert two.parts == []
