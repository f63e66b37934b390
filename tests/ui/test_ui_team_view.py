"""Whoever logs in with a key sees its team and nothing of another one, on every page."""

from typing import Any

import pytest

from proxy.ui.session import Signer
from tests.store.filled import a_call
from tests.ui.conftest import TOKEN, Browser, Site

SECRET_WORDS = ("billing", "nightly-invoices", "bob")


@pytest.fixture
async def search(site: Site) -> Browser:
    """Somebody of the team search, beside calls of the team billing."""
    other: dict[str, Any] = {
        "team": "billing",
        "key": "billing-prod",
        "user": "bob",
        "workflow": "nightly-invoices",
    }
    await site.fill(a_call(team="search"), a_call(1, **other), a_call(2, **other))
    await site.key("billing-prod", "billing")
    return await site.of_team("search")


@pytest.mark.parametrize(
    "path",
    [
        "/ui",
        "/ui?by=team",
        "/ui?by=workflow",
        "/ui?range=24h&by=workflow",
        "/ui/budgets",
        "/ui/calls",
        "/ui/calls?team=billing",
        "/ui/calls?user=bob&range=90d",
        "/ui/models?team=billing",
        "/ui/keys",
        "/ui/keys?all=1",
    ],
)
async def test_no_page_shows_anything_of_another_team(search: Browser, path: str) -> None:
    await search.get(path)
    # What somebody typed into a filter is shown again, and says nothing.
    shown = " ".join(n.text() for n in search.page.css("main section, main h1, datalist, .who"))

    for word in SECRET_WORDS:
        assert word not in shown
    assert "read only" in search.text(".who")


async def test_the_own_numbers_are_there(search: Browser) -> None:
    await search.get("/ui/calls")
    assert len(search.rows()) == 1

    await search.get("/ui/budgets")
    assert search.rows()[0][0].startswith("search")


async def test_a_call_of_another_team_is_as_if_it_were_not_there(
    site: Site, search: Browser
) -> None:
    admin = await site.admin()
    await admin.get("/ui/calls?team=billing")
    path = admin.attribute("main tbody a", "href")
    await admin.get(path)

    await search.get(path, 404)
    missing = search.text()
    await search.get("/ui/calls/fb-none", 404)

    assert missing.split("no call")[0] == search.text().split("no call")[0]


@pytest.mark.parametrize(
    "path", ["/ui/budgets/edit", "/ui/keys/new", "/ui/keys/x/revoke", "/ui/keys/x/rotate"]
)
async def test_a_key_changes_nothing(search: Browser, path: str) -> None:
    await search.get(path, 403)
    await search.get("/ui")
    await search.send(path, 403, name="k", team="search", limit_usd="1", step="confirm")


async def test_a_budget_that_counts_other_teams_too_is_not_shown(
    site: Site, search: Browser
) -> None:
    admin = await site.admin()
    await admin.get("/ui/budgets/edit")
    fields = {"scope": "organisation", "subject": "acme", "limit_usd": "100", "window": "month"}
    await admin.send("/ui/budgets/edit", 303, step="confirm", **fields)

    await admin.get("/ui/budgets")
    assert "acme" in admin.text()
    await search.get("/ui/budgets")
    assert "acme" not in search.text()


async def test_a_revoked_key_ends_its_sessions(site: Site, search: Browser) -> None:
    await search.get("/ui")

    await site.deps.keys.revoke("search-key", "test")

    await search.get("/ui", 303)


async def test_a_rotated_key_ends_its_sessions_after_the_grace(site: Site, search: Browser) -> None:
    await site.deps.keys.rotate("search-key", "test", grace_s=60)
    await search.get("/ui")

    site.state["now_s"] += 61

    await search.get("/ui", 303)


def test_a_session_of_a_key_can_not_be_made_one_of_the_administrator() -> None:
    """The role is under the signature."""
    signer = Signer(TOKEN)
    team = signer.seal(signer.session(0, key_id="key_1", secret_hash="ab"))
    admin = signer.seal(signer.session(0))
    forged = f"1.{admin.split('.')[1]}.{team.split('.')[2]}"

    assert signer.read(forged, 0) is None
