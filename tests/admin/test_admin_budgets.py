"""Budgets, keys and teams over the admin API."""

from typing import Any

import httpx
import pytest

from tests.admin.conftest import TOKEN, Admin
from tests.store.filled import a_call, fill


async def put(admin: Admin, **body: Any) -> Any:
    answer = await admin.ask("PUT", "/admin/v1/budgets", json=body)
    assert answer.status_code == 200, answer.text
    [row] = answer.json()["items"]
    return row


async def test_a_budget_is_shown_with_its_window_of_now(admin: Admin) -> None:
    [row] = (await admin.get("/budgets"))["items"]

    starts_at, resets_at = row.pop("starts_at"), row.pop("resets_at")
    assert row == {
        "id": "team:search:month",
        "scope": "team",
        "subject": "search",
        "team": "search",
        "window": "month",
        "limit_usd": "5.00",
        "spent_usd": "0.00",
        "held_usd": "0.00",
        "overdraft_usd": "0.00",
        "available_usd": "5.00",
        "on_exceed": "block",
        "timezone": "UTC",
        "shrink": False,
        "unpriced": "reject",
        "unbounded": "reject",
        "origin": "configuration",
    }
    assert starts_at < resets_at


async def test_a_budget_is_made_by_what_it_is_for(admin: Admin) -> None:
    """For a team, its name is enough."""
    row = await put(admin, scope="team", team="billing", window="day", limit_usd="0.05")
    same = await put(admin, team="billing", window="day", limit_usd="0.06")

    assert (row["id"], row["limit_usd"], row["origin"]) == ("team:billing:day", "0.05", "api")
    assert (same["id"], same["limit_usd"]) == ("team:billing:day", "0.06")


@pytest.mark.parametrize("amount", ["0.000000001", 0.1, 3, "1000000"])
async def test_an_amount_is_taken_as_it_is_written(admin: Admin, amount: str | float) -> None:
    row = await put(admin, scope="team", team="billing", limit_usd=amount)

    assert float(row["limit_usd"]) == float(amount)


async def test_of_a_budget_only_what_is_given_changes(admin: Admin) -> None:
    """By its id, or by what it is for."""
    await put(admin, id="team:search:month", shrink=True)
    row = await put(admin, id="team:search:month", limit_usd="7.5")

    assert (row["limit_usd"], row["shrink"], row["origin"]) == ("7.50", True, "configuration")


async def test_a_budget_for_each_user_shows_its_limit_before_anybody_used_it(admin: Admin) -> None:
    row = await put(
        admin,
        scope="user",
        subject="*",
        team="search",
        window="week",
        limit_usd=1,
        unbounded={"reserve_usd": "0.25"},
    )

    assert (row["id"], row["subject"], row["spent_usd"], row["unbounded"]) == (
        "user:*:week:team=search",
        "*",
        "0.00",
        "reserve $0.25",
    )


async def test_a_budget_that_was_made_here_is_removed_here(admin: Admin) -> None:
    """Also one whose subject has a slash; one of the configuration would come back."""
    made = await put(
        admin, scope="model", subject="openai/gpt-4o", window="day", limit_usd=1, shrink=True
    )

    removed = await admin.ask("DELETE", f"/admin/v1/budgets/{made['id']}")
    again = await admin.problem("DELETE", f"/budgets/{made['id']}")
    configured = await admin.problem("DELETE", "/budgets/team:search:month")

    assert (removed.status_code, removed.json()["items"]) == (200, [made])
    assert again[:2] == (404, "budget_not_found")
    assert configured[:2] == (409, "budget_not_changed")
    assert [row["id"] for row in (await admin.get("/budgets"))["items"]] == ["team:search:month"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"scope": "team", "team": "serach", "limit_usd": 1}, (422, "unknown_team", "known: billing, search")),
        ({"scope": "user", "team": "serach", "limit_usd": 1}, (422, "unknown_team", "known: billing, search")),
        ({"id": "team:nobody:day", "limit_usd": 1}, (404, "budget_not_found", "known: team:search:month")),
        ({"id": "team:search:month", "window": "day"}, (422, "budget_is_another", "team:search:day")),
        ({"scope": "team", "team": "search"}, (422, "invalid_budget", "limit_usd")),
        ({"scope": "team", "team": "search", "limit_usd": "-1"}, (422, "invalid_budget", "limit_usd")),
        ({"scope": "team", "team": "search", "limit_usd": "0.0000000001"}, (422, "invalid_budget", "limit_usd")),
        ({"scope": "team", "team": "search", "limit_usd": "much"}, (422, "invalid_budget", "limit_usd: must be an amount like 500 or 0.05")),
        ({"scope": "planet", "limit_usd": 1}, (422, "invalid_request", "scope: must be 'organisation'")),
        ({"scope": "tag", "subject": "x", "limit_usd": 1}, (422, "invalid_budget", "name=value")),
        ({"scope": "team", "team": "search", "limit_usd": 1, "timezone": "Mars"}, (422, "invalid_budget", "timezone")),
        ({"limit": 1}, (422, "invalid_request", "limit: there is no such field")),
        ({"subject": "x", "limit_usd": 1}, (422, "invalid_budget", "scope: is missing")),
        ([], (422, "invalid_request", "The body must be a JSON object.")),
    ],
    ids=str,
)  # fmt: skip
async def test_what_makes_no_budget_is_explained(
    admin: Admin, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    """And nothing changes."""
    before = await admin.get("/budgets")
    status, code, message = await admin.problem("PUT", "/budgets", json=body)

    assert (status, code) == expected[:2]
    assert expected[2] in message
    assert await admin.get("/budgets") == before


async def test_a_body_that_is_no_json_is_explained(admin: Admin) -> None:
    status, code, _ = await admin.problem("PUT", "/budgets", content=b"{limit")

    assert (status, code) == (422, "invalid_request")


async def test_budgets_come_in_pages(admin: Admin) -> None:
    for window in ("hour", "day", "week"):
        await put(admin, scope="team", team="billing", window=window, limit_usd=1)

    first = await admin.get("/budgets", limit=3)
    second = await admin.get("/budgets", limit=3, cursor=first["next_cursor"])

    assert [row["id"] for row in first["items"] + second["items"]] == [
        "team:billing:day",
        "team:billing:hour",
        "team:billing:week",
        "team:search:month",
    ]
    assert second["next_cursor"] is None


# Keys


async def test_a_key_is_made_used_rotated_and_revoked(admin: Admin) -> None:
    """Its secret is in the answer that makes it, and in no other."""
    body = {
        "name": "app",
        "team": "search",
        "models": ["gpt-*"],
        "expires_at": "2100-01-01T00:00:00Z",
    }
    made = await admin.ask("POST", "/admin/v1/keys", json=body)
    secret = made.json()["secret"]

    assert made.status_code == 201
    assert await admin.keys.find(secret) is not None
    [listed] = (await admin.get("/keys"))["items"]
    assert listed == {name: value for name, value in made.json().items() if name != "secret"}
    assert (listed["state"], listed["expires_at"]) == ("active", "2100-01-01T00:00:00.000Z")

    rotated = await admin.ask("POST", "/admin/v1/keys/app/rotate", json={"grace_s": 60})
    assert await admin.keys.find(rotated.json()["secret"]) == await admin.keys.find(secret)

    revoked = await admin.ask("DELETE", "/admin/v1/keys/app")
    assert revoked.json()["state"] == "revoked"
    assert await admin.keys.find(secret) is None
    assert secret not in (await admin.ask("GET", "/admin/v1/keys")).text


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/keys", {"name": "app", "team": "serach"}, (422, "unknown_team")),
        ("POST", "/keys", {"name": "a b", "team": "search"}, (422, "invalid_request")),
        ("POST", "/keys", {"name": "", "team": "search"}, (422, "invalid_request")),
        ("POST", "/keys", {"name": "a/b", "team": "search"}, (422, "invalid_request")),
        ("POST", "/keys", {"name": "x", "team": "search", "models": []}, (422, "invalid_request")),
        ("POST", "/keys", {"name": "x", "team": "search", "expires_at": "2020-01-01T00:00:00Z"}, (422, "invalid_request")),
        ("POST", "/keys", {"name": "there", "team": "search"}, (409, "key_not_changed")),
        ("POST", "/keys", {"name": "x", "team": "search", "secret": "mine"}, (422, "invalid_request")),
        ("DELETE", "/keys/nobody", None, (404, "key_not_found")),
        ("POST", "/keys/nobody/rotate", {}, (404, "key_not_found")),
        ("POST", "/keys/there/rotate", {"grace_s": -1}, (422, "invalid_request")),
    ],
)  # fmt: skip
async def test_what_makes_no_key_is_explained(
    admin: Admin, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    await admin.ask("POST", "/admin/v1/keys", json={"name": "there", "team": "search"})

    status, code, _ = await admin.problem(method, path, json=body)

    assert (status, code) == expected


async def test_keys_come_in_pages(admin: Admin) -> None:
    for name in ("c", "a", "b"):
        await admin.ask("POST", "/admin/v1/keys", json={"name": name, "team": "search"})

    first = await admin.get("/keys", limit=2)
    second = await admin.get("/keys", limit=2, cursor=first["next_cursor"])

    assert [row["name"] for row in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


# Teams


async def test_teams_show_their_policy_and_budgets(admin: Admin) -> None:
    await put(admin, scope="user", subject="*", team="billing", limit_usd=1)

    billing, search = (await admin.get("/teams"))["items"]

    assert search == {
        "name": "search",
        "organisation": "acme",
        "models": ["*"],
        "max_output_tokens": 1000,
        "max_input_tokens": None,
        "on_over_cap": None,
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "budgets": ["team:search:month"],
        "calls": 0,
        "spent_usd": "0.00",
    }
    assert (billing["models"], billing["budgets"]) == (["gpt-*"], ["user:*:month:team=billing"])


async def test_teams_show_what_they_spent_this_month(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_call()
    await fill(admin.database, [record, a_call(24 * 40)])
    monkeypatch.setattr("proxy.admin.teams.now_us", lambda: record.started_at_us)

    _, search = (await admin.get("/teams"))["items"]
    page = await admin.get("/teams", limit=1)

    assert (search["calls"], search["spent_usd"]) == (2, "0.002469134")
    assert ([row["name"] for row in page["items"]], page["next_cursor"]) == (["billing"], "billing")


async def test_a_ledger_that_does_not_answer_is_said(
    admin: Admin,
) -> None:
    await admin.database.close()

    status, code, _ = await admin.problem("GET", "/calls")

    assert (status, code) == (503, "ledger_unavailable")


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "application/json"])
async def test_a_body_is_json_whatever_its_type_says(admin: Admin, kind: str | None) -> None:
    """``curl -d`` calls it a form."""
    headers = {"authorization": f"Bearer {TOKEN}"} | ({"content-type": kind} if kind else {})
    transport = httpx.ASGITransport(admin.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://farebox") as client:
        answer = await client.put(
            "/admin/v1/budgets",
            content=b'{"team": "billing", "window": "day", "limit_usd": "50"}',
            headers=headers,
        )

    assert answer.status_code == 200
    assert answer.json()["items"][0]["limit_usd"] == "50.00"


async def test_a_body_that_is_no_json_is_told_so(admin: Admin) -> None:
    told = await admin.problem("PUT", "/budgets", content=b"{bad")

    assert told[:2] == (422, "invalid_request")
    assert told[2].startswith("The body must be a JSON object; it is not valid JSON: ")
