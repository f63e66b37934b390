"""Who may use the admin API, and what is open to all."""

import httpx
import pytest

from tests.admin.conftest import TOKEN, Admin, settings

ROUTES = [
    ("GET", "/calls"),
    ("GET", "/calls/fb-1"),
    ("GET", "/spend"),
    ("GET", "/budgets"),
    ("PUT", "/budgets"),
    ("DELETE", "/budgets/team:a:day"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("POST", "/keys/app/rotate"),
    ("DELETE", "/keys/app"),
    ("GET", "/teams"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1]])
async def test_no_route_answers_without_the_token(
    admin: Admin, method: str, path: str, token: str | None
) -> None:
    """Every one of them, whatever the body is."""
    status, code, _ = await admin.problem(method, path, token=token)

    assert (status, code) == (401, "invalid_admin_token")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_configured_token_the_api_is_closed(
    admin: Admin, method: str, path: str
) -> None:
    """And says how to open it; an empty token opens nothing."""
    admin.state["settings"] = settings(admin_token=None)

    for token in (None, "", TOKEN):
        status, code, message = await admin.problem(method, path, token=token)
        assert (status, code) == (403, "admin_token_not_set")
        assert "FAREBOX_ADMIN_TOKEN" in message


async def test_every_route_under_admin_is_in_the_list_above(admin: Admin) -> None:
    """So that a new one can't be left open by mistake."""
    paths = (await admin.ask("GET", "/admin/openapi.json", token=None)).json()["paths"]
    closed = {
        (method.upper(), path.removeprefix("/admin/v1"))
        for path, methods in paths.items()
        if path.startswith("/admin/v1")
        for method in methods
    }

    names = {"fb-1": "{call_id}", "app": "{name_or_id}", "team:a:day": "{budget_id}"}
    named = {(m, "/".join(names.get(part, part) for part in p.split("/"))) for m, p in ROUTES}
    assert closed == named


async def test_a_new_token_counts_at_once(admin: Admin) -> None:
    """The configuration can be reloaded while the service runs."""
    admin.state["settings"] = settings(admin_token="another-token")

    assert (await admin.problem("GET", "/teams"))[0] == 401
    assert (await admin.ask("GET", "/admin/v1/teams", token="another-token")).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(admin: Admin, scheme: str) -> None:
    """As HTTP wants it; and an answer without it says which one to send."""
    headers = {"authorization": f"{scheme} {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(admin.app)) as client:
        allowed = await client.get("http://farebox/admin/v1/teams", headers=headers)
        refused = await client.get("http://farebox/admin/v1/teams")

    assert allowed.status_code == 200
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_health_readiness_and_metrics_need_no_token(admin: Admin) -> None:
    """Machines ask for them."""
    health = await admin.ask("GET", "/healthz", token=None)
    ready = await admin.ask("GET", "/readyz", token=None)
    metrics = await admin.ask("GET", "/metrics", token=None)

    assert health.json() == {"status": "ok"}
    assert ready.json() == {"status": "ready"}
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'farebox_budget_limit_usd{budget="team:search:month"' in metrics.text
    assert admin.state["settled"] is True


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_machines_may_ask_for_the_head_alone(admin: Admin, path: str) -> None:
    """Load balancers do; what is not ready says so by its status."""
    well = await admin.ask("HEAD", path, token=None)
    admin.state["ready"] = "ledger: the database does not answer"
    unready = await admin.ask("HEAD", path, token=None)

    assert (well.status_code, unready.status_code) == (200, 503 if path == "/readyz" else 200)


async def test_a_service_that_is_not_ready_says_why(admin: Admin) -> None:
    admin.state["ready"] = "ledger: the database does not answer"

    answer = await admin.ask("GET", "/readyz", token=None)

    assert (answer.status_code, answer.json()["reason"]) == (
        503,
        "ledger: the database does not answer",
    )


async def test_an_unknown_path_is_an_error_like_any_other(admin: Admin) -> None:
    status, code, message = await admin.problem("GET", "/cals")

    assert (status, code) == (404, "not_found")
    assert "/admin/docs" in message


async def test_the_documentation_loads_nothing_from_elsewhere(admin: Admin) -> None:
    """It works on a machine without internet, and names every path and field."""
    page = (await admin.ask("GET", "/admin/docs", token=None)).text

    for word in (
        "/admin/v1/calls",
        "/admin/v1/budgets",
        "group_by",
        "cost_usd",
        "limit_usd",
        "secret",
    ):
        assert word in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
