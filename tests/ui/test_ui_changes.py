"""Budgets and keys changed on the page: shown before, done once, and kept in the audit."""

from typing import Any

import pytest

from proxy.core.money import nano_from_usd
from proxy.settings import KeySettings
from proxy.store.keys import KeyStore
from tests.store.filled import a_call
from tests.ui.conftest import Site, settings

BUDGET = "team:search:month"


async def limit(site: Site, budget: str = BUDGET) -> int | None:
    """What the ledger has."""
    views = await site.ledger.budgets()
    return next((v.budget.limit_nano for v in views if v.budget.id == budget), None)


async def test_a_new_limit_is_shown_before_it_is_set(site: Site) -> None:
    browser = await site.admin()
    await browser.get(f"/ui/budgets/edit?id={BUDGET}")

    await browser.send("/ui/budgets/edit", id=BUDGET, limit_usd="$1,250.50", step="review")
    assert "$5.00 → $1,250.50" in browser.text()
    assert await limit(site) == nano_from_usd(5)

    await browser.send("/ui/budgets/edit", 303, id=BUDGET, limit_usd="1250.50", step="confirm")
    assert await limit(site) == nano_from_usd("1250.50")

    await browser.get(browser.answer.headers["location"])
    assert "in force" in browser.text("[role=status]")
    changes = browser.rows("#changes ~ .scroll table")
    assert changes[0][1].replace(": ", ":") == BUDGET  # which may be broken after each colon
    assert changes[0][2:] == ["$5.00 → $1,250.50", "ui"]


async def test_a_limit_below_what_is_spent_is_warned_of(site: Site) -> None:
    await site.fill(a_call(team="search"))
    site.state["settings"] = settings()
    await site.ledger.sync_budgets([])
    await site.ledger.sync_budgets(site.state["settings"].core_budgets())  # counted from the rows
    browser = await site.admin()
    await browser.get(f"/ui/budgets/edit?id={BUDGET}")

    await browser.send("/ui/budgets/edit", id=BUDGET, limit_usd="0.000001", step="review")

    assert "every call there is refused" in browser.text("[role=alert]")


@pytest.mark.parametrize(
    ("amount", "told"), [("", "Write a limit"), ("much", "limit_usd"), ("-1", "limit_usd")]
)
async def test_what_is_no_limit_is_told_and_sets_nothing(
    site: Site, amount: str, told: str
) -> None:
    browser = await site.admin()
    await browser.get(f"/ui/budgets/edit?id={BUDGET}")

    await browser.send("/ui/budgets/edit", 422, id=BUDGET, limit_usd=amount, step="confirm")

    assert told in browser.text("[role=alert]")
    assert await limit(site) == nano_from_usd(5)


async def test_a_new_budget_on_each_user_of_a_team(site: Site) -> None:
    browser = await site.admin()
    await browser.get("/ui/budgets/edit?team=search")
    new: dict[str, Any] = {
        "scope": "user",
        "subject": "*",
        "team": "search",
        "window": "day",
        "limit_usd": "1",
    }

    await browser.send("/ui/budgets/edit", step="review", on_exceed="warn", **new)
    assert "Make this budget?" in browser.text("h1")
    await browser.send("/ui/budgets/edit", 303, step="confirm", on_exceed="warn", **new)

    assert await limit(site, "user:*:day:team=search:warn") == nano_from_usd(1)


async def test_a_budget_of_a_team_that_is_not_there_is_refused(site: Site) -> None:
    browser = await site.admin()
    await browser.get("/ui/budgets/edit")

    await browser.send(
        "/ui/budgets/edit", 422, scope="team", subject="nobody", limit_usd="1", step="confirm"
    )

    assert "no team 'nobody'" in browser.text("[role=alert]")


# Keys


async def test_a_new_key_shows_its_secret_once_and_works(site: Site) -> None:
    browser = await site.admin()
    await browser.get("/ui/keys/new")

    await browser.send("/ui/keys/new", name="batch", team="search", models="gpt-*", days="30")
    secret = browser.text("#secret-value")

    found = await site.deps.keys.find(secret)
    assert found is not None
    assert (found.name, found.team.name, found.models) == ("batch", "search", ("gpt-*",))
    assert browser.answer.headers["cache-control"] == "no-store"
    await browser.get("/ui/keys")
    assert secret not in browser.answer.text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": ""}, "1 to 100 characters"),
        ({"name": "a b"}, "without spaces"),
        ({"max_output_tokens": "x"}, "whole number"),
        ({"team": "nobody"}, "no team"),
        ({"name": "taken"}, "already"),
    ],
)
async def test_what_can_not_be_a_key_is_told(site: Site, fields: dict[str, str], told: str) -> None:
    await site.key("taken", "search")
    browser = await site.admin()
    await browser.get("/ui/keys/new")

    filled: dict[str, Any] = {"name": "k", "team": "search", **fields}
    await browser.send("/ui/keys/new", 422, **filled)

    assert told in browser.text("[role=alert]")


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_for_the_grace(site: Site) -> None:
    old = await site.key("batch", "search")
    (key,) = await site.deps.keys.list()
    browser = await site.admin()
    await browser.get(f"/ui/keys/{key.id}/rotate")

    await browser.send(f"/ui/keys/{key.id}/rotate", grace="3600")
    new = browser.text("#secret-value")

    keys: KeyStore = site.deps.keys
    assert await keys.find(old) is not None
    assert await keys.find(new) is not None
    site.state["now_s"] += 3601
    assert await keys.find(old) is None


async def test_a_key_is_revoked_after_it_was_asked_for(site: Site) -> None:
    secret = await site.key("batch", "search")
    (key,) = await site.deps.keys.list()
    browser = await site.admin()
    await browser.get(f"/ui/keys/{key.id}/revoke")
    assert "can't be undone" in browser.text()

    await browser.send(f"/ui/keys/{key.id}/revoke", 303)

    assert await site.deps.keys.find(secret) is None
    await browser.get(browser.answer.headers["location"])
    assert "is revoked" in browser.text("[role=status]")
    await browser.get("/ui/keys?all=1")
    assert browser.rows()[0][7] == "revoked"


async def test_a_key_of_the_configuration_is_changed_there(site: Site) -> None:
    await site.deps.keys.sync([KeySettings(name="prod", team="search", key="sk-configured-000001")])
    (key,) = await site.deps.keys.list()
    browser = await site.admin()
    await browser.get("/ui/keys")
    assert "in the configuration" in browser.text()

    await browser.get(f"/ui/keys/{key.id}/revoke")
    await browser.send(f"/ui/keys/{key.id}/revoke", 400)

    assert "take it out of" in browser.text()
