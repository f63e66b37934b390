"""Calls and spend over the admin API."""

from dataclasses import asdict
from typing import Any

import pytest

from proxy.core.present import shown
from tests.admin.conftest import Admin
from tests.observe.samples import REFUSED
from tests.store.filled import a_call, fill


async def test_calls_come_in_pages_newest_first(admin: Admin) -> None:
    """The cursor of a page leads to the next one, until there is none."""
    written = await fill(admin.database, [a_call(number) for number in range(5)])

    first = await admin.get("/calls", limit=3)
    second = await admin.get("/calls", limit=3, cursor=first["next_cursor"])

    assert [row["id"] for row in first["items"] + second["items"]] == [
        r.id for r in reversed(written)
    ]
    assert second["next_cursor"] is None
    assert first["items"][0] == asdict(shown(written[-1]))
    assert admin.state["settled"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"team": "billing"}, 1),
        ({"outcome": "refused"}, 1),
        ({"status": "429"}, 1),
        ({"tag": "env=prod"}, 3),
        ({"model": "gpt-5-mini"}, 3),
        ({"from": "2026-11-18T12:00:00Z"}, 1),
        ({"from": "2026-11-18T13:00:00+01:00"}, 1),
        ({"to": "2026-11-18T12:00:00Z"}, 2),
        ({"team": "search", "outcome": "completed"}, 1),
    ],
    ids=str,
)
async def test_filters(admin: Admin, query: dict[str, str], expected: int) -> None:
    """Joined by "and"; times with their zone."""
    await fill(admin.database, [a_call(0, team="billing"), REFUSED, a_call(1)])

    assert len((await admin.get("/calls", **query))["items"]) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"teem": "search"}, "teem: there is no such field or parameter"),
        ({"limit": "0"}, "limit: must be at least 1"),
        ({"limit": "5000"}, "limit: must be at most 1000"),
        ({"outcome": "fine"}, "outcome: must be 'completed'"),
        ({"from": "2026-11-18T12:00:00"}, "from: must be a time with its zone, like 2026-"),
        ({"from": "yesterday"}, "from: must be a time with its zone"),
        ({"status": "ok"}, "status: must be a whole number"),
    ],
    ids=str,
)
async def test_a_wrong_filter_is_refused_not_ignored(
    admin: Admin, query: dict[str, str], message: str
) -> None:
    """Ignored, it would show everything as if it matched."""
    status, code, told = await admin.problem("GET", "/calls", params=query)

    assert (status, code) == (422, "invalid_request")
    assert message in told


async def test_one_call_shows_how_its_charge_adds_up(admin: Admin) -> None:
    [record] = await fill(admin.database, [a_call()])

    detail = await admin.get(f"/calls/{record.id}")

    [attempt] = detail.pop("attempt_rows")
    assert detail == asdict(shown(record)) | {"adjustments": []}
    assert attempt["usage"] == {
        "input": 1000,
        "cached_input": 200,
        "cache_write": 34,
        "output": 70,
        "reasoning": 30,
    }
    line = {"what": "input", "quantity": 1000, "price_nano_usd": "250", "model": ""}
    assert attempt["charge"][0] == line


async def test_an_unknown_call_is_told_so(admin: Admin) -> None:
    status, code, message = await admin.problem("GET", "/calls/fb-nobody")

    assert (status, code) == (404, "call_not_found")
    assert "x-farebox-call-id" in message


# Spend


async def spent(admin: Admin, **query: Any) -> dict[str, str]:
    page = await admin.get("/spend", **query)
    return {"/".join(row["group"].values()): row["cost_usd"] for row in page["items"]}


async def test_spend_in_groups(admin: Admin) -> None:
    await fill(admin.database, [a_call(0), a_call(1), a_call(0, team="billing")])

    assert await spent(admin, group_by="team", window="total") == {
        "search": "0.002469134",
        "billing": "0.001234567",
    }
    assert await spent(admin, group_by="team,day", window="total") == {
        "search/2026-11-18": "0.002469134",
        "billing/2026-11-18": "0.001234567",
    }
    assert await spent(admin, group_by="run", to="2026-11-18T12:00:00Z") == {"run-7": "0.002469134"}
    assert await spent(admin, group_by="model", window="total", team="billing") == {
        "gpt-5-mini-2026-08-07": "0.001234567"
    }


async def test_spend_pages_by_cursor(admin: Admin) -> None:
    await fill(admin.database, [a_call(0), a_call(0, team="billing")])

    first = await admin.get("/spend", window="total", limit=1)
    second = await admin.get("/spend", window="total", limit=1, cursor=first["next_cursor"])

    assert [row["group"]["team"] for row in first["items"] + second["items"]] == [
        "billing",
        "search",
    ]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"group_by": "teem"}, "unknown_group", "can't group by teem; there are day"),
        ({"cursor": "x"}, "invalid_cursor", "leave it out"),
        ({"window": "year"}, "invalid_request", "window: must be 'hour'"),
        ({"window": "day", "from": "2026-11-18T12:00:00Z"}, "invalid_request", "not both"),
    ],
    ids=str,
)
async def test_a_wrong_question_is_explained(
    admin: Admin, query: dict[str, str], code: str, message: str
) -> None:
    status, found, told = await admin.problem("GET", "/spend", params=query)

    assert (status, found) == (422, code)
    assert message in told


@pytest.mark.parametrize("path", ["/calls", "/budgets", "/spend"])
async def test_what_is_no_cursor_is_refused(admin: Admin, path: str) -> None:
    """Quietly taken, a page would come again and again."""
    status, code, _ = await admin.problem("GET", path, params={"cursor": "nonsense"})

    assert (status, code) == (422, "invalid_cursor")
