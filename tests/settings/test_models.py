"""The configuration once read: what the rest of the house asks of it."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from proxy.core.budgets import Budget, OnExceed, Scope, Window
from proxy.core.call import Team
from proxy.gateway.presets import PRESETS as KNOWN_TO_THE_GATEWAY
from proxy.settings import Settings
from proxy.settings.fields import PRESETS, ScopeName, WindowName

Load = Callable[..., Settings]


def test_defaults() -> None:
    settings = Settings()

    assert settings.database == "sqlite:///data/farebox.db"
    assert settings.admin_token is None
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.limits.max_body_bytes == 32 * 2**20
    assert (settings.upstreams, settings.models, settings.teams, settings.keys) == ({}, [], [], [])


def test_nothing_changes_once_read() -> None:
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.database = "sqlite:///other.db"


def test_scopes_and_windows_are_those_of_the_core() -> None:
    assert set(get_args(ScopeName)) == set(Scope)
    assert set(get_args(WindowName)) == set(Window)


def test_presets_are_those_of_the_gateway() -> None:
    assert set(PRESETS) == set(KNOWN_TO_THE_GATEWAY)


# The database


@pytest.mark.parametrize(
    ("written", "normal", "path"),
    [
        ("sqlite:///data/x.db", "sqlite:///data/x.db", Path("data/x.db")),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db", Path("/var/lib/x.db")),
        ("sqlite+aiosqlite:///x.db", "sqlite:///x.db", Path("x.db")),
        ("SQLite:///x.db", "sqlite:///x.db", Path("x.db")),
        ("postgresql://u:p@h:5432/db", "postgresql://u:p@h:5432/db", None),
        ("postgres://h/db", "postgresql://h/db", None),
        ("postgresql+asyncpg://h/db", "postgresql://h/db", None),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", None),
    ],
)
def test_database(load: Load, written: str, normal: str, path: Path | None) -> None:
    """Written without a driver, which is the store's choice."""
    settings = load(f"database: '{written}'")

    assert settings.database == normal
    assert settings.is_sqlite == (path is not None)
    assert settings.sqlite_path == path


def test_a_database_is_shown_without_its_password(load: Load) -> None:
    settings = load("database: postgresql://me:p%40ss@h:5432/db?sslpassword=x")

    assert settings.database_shown == "postgresql://me@h:5432/db"
    assert load("database: sqlite:///x.db").database_shown == "sqlite:///x.db"


# Upstreams


def test_a_base_url_has_no_slash_at_its_end(load: Load) -> None:
    settings = load("upstreams: {a: {base_url: 'http://[::1]:8000/v1/'}}")

    assert settings.upstreams["a"].base_url == "http://[::1]:8000/v1"


def test_names_of_headers_are_in_lower_case(load: Load) -> None:
    settings = load("upstreams: {a: {base_url: http://h, headers: {X-Org: ' acme '}}}")

    assert settings.upstreams["a"].headers == {"x-org": "acme"}


# Teams and budgets


def test_core_teams(load: Load) -> None:
    text = """\
        teams:
          - {name: a}
          - {name: b, organisation: acme, models: [fast, "gpt-*"], max_output_tokens: 10,
             max_input_tokens: 20, on_over_cap: reject}
    """

    assert load(text).core_teams() == {
        "a": Team("a"),
        "b": Team("b", "acme", ("fast", "gpt-*"), 10, 20, "reject"),
    }


def test_core_budgets(load: Load) -> None:
    """Each id says what the budget is for; where it has no policy of its own, the defaults' holds."""
    text = """\
        defaults: {unpriced: allow, unbounded: {reserve_usd: 0.25}}
        organisations:
          - {name: acme, budgets: [{limit_usd: 1000, window: total}]}
        teams:
          - name: search
            budgets:
              - {limit_usd: 500}
              - {limit_usd: 0.05, window: day, on_exceed: warn, timezone: Europe/Berlin,
                 shrink: true, unpriced: reject, unbounded: reject}
        keys:
          - {name: prod, team: search, key: abc, budgets: [{limit_usd: 7, window: week}]}
        budgets:
          - {scope: user, team: search, window: day, limit_usd: 1, unbounded: {reserve_usd: 0}}
          - {scope: tag, subject: env=ci, window: hour, limit_usd: 0.000000001, on_exceed: warn}
    """
    usd = 1_000_000_000
    policies: dict[str, Any] = {
        "unpriced": "allow",
        "unbounded": "reserve",
        "unbounded_nano": usd // 4,
    }

    assert load(text).core_budgets() == (
        Budget(
            "organisation:acme:total", Scope.ORGANISATION, "acme", 1000 * usd, Window.TOTAL,
            **policies,
        ),
        Budget("team:search:month", Scope.TEAM, "search", 500 * usd, Window.MONTH, **policies),
        Budget(
            "team:search:day:warn", Scope.TEAM, "search", usd // 20, Window.DAY,
            on_exceed=OnExceed.WARN, timezone="Europe/Berlin", shrink=True,
        ),
        Budget("key:prod:week", Scope.KEY, "prod", 7 * usd, Window.WEEK, **policies),
        Budget(
            "user:*:day:team=search", Scope.USER, "*", usd, Window.DAY, "search",
            unpriced="allow", unbounded="reserve",
        ),
        Budget(
            "tag:env=ci:hour:warn", Scope.TAG, "env=ci", 1, Window.HOUR, on_exceed=OnExceed.WARN,
            **policies,
        ),
    )  # fmt: skip


def test_a_blocking_and_a_warning_budget_may_share_a_window(load: Load) -> None:
    text = "teams: [{name: a, budgets: [{limit_usd: 2}, {limit_usd: 1, on_exceed: warn}]}]"

    assert [b.id for b in load(text).core_budgets()] == ["team:a:month", "team:a:month:warn"]


def test_a_price_may_have_twelve_decimals(load: Load) -> None:
    (price,) = load("prices: [{per_second: 0.000000000001}]").prices

    assert price.per_second == Decimal("1e-12")


def test_a_price_may_be_for_a_pattern_of_upstreams(load: Load) -> None:
    text = "upstreams: {azure-eu: {base_url: http://h}}\nprices: [{upstream: azure-*, multiplier: 1.1}]"

    assert load(text).prices[0].upstream == "azure-*"
