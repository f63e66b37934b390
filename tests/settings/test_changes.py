"""What a reload changes, and which of it waits for the next start."""

from typing import Any

import pytest

from proxy.settings import Settings, changed, needs_restart

BASE: dict[str, Any] = {
    "upstreams": {"a": {"base_url": "http://a", "api_key": "x"}},
    "teams": [{"name": "t", "budgets": [{"limit_usd": 1}]}, {"name": "u"}],
}


def settings(**other: Any) -> Settings:
    return Settings.model_validate(BASE | other)


@pytest.mark.parametrize(
    ("other", "paths"),
    [
        ({}, ()),
        ({"database": "sqlite:///b.db"}, ("database",)),
        ({"server": {"port": 1, "host": "0.0.0.0"}}, ("server.host", "server.port")),  # noqa: S104 -- never listened on
        ({"upstreams": {"a": {"base_url": "http://a", "api_key": "y"}}}, ("upstreams.a.api_key",)),
        ({"upstreams": {"b": BASE["upstreams"]["a"]}}, ("upstreams.a", "upstreams.b")),
        (
            {"teams": [{"name": "t", "budgets": [{"limit_usd": 2}]}, {"name": "u"}]},
            ("teams[0].budgets[0].limit_usd",),
        ),
        ({"teams": [{"name": "t"}]}, ("teams",)),
        ({"defaults": {"unbounded": {"reserve_usd": 1}}}, ("defaults.unbounded",)),
    ],
)
def test_changed(other: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert changed(settings(), settings(**other)) == paths


def test_what_needs_a_new_start() -> None:
    new = settings(
        database="sqlite:///b.db",
        server={"port": 1, "workers": 2, "shutdown_grace_s": 1},
        ledger={"lease_s": 5, "unavailable": "allow", "hold_wait_s": 2},
        logging={"level": "error"},
    )

    assert needs_restart(changed(settings(), new)) == (
        "database",
        "ledger.unavailable",
        "ledger.lease_s",
        "server.port",
        "server.workers",
        "server.shutdown_grace_s",
        "logging.level",
    )


def test_what_is_made_at_the_start_needs_a_new_one() -> None:
    """Each setting of these sections, but those that a call reads when it begins."""
    live = {"ledger.hold_wait_s", "tracing.propagate"}
    made = {
        f"{section}.{name}"
        for section in ("server", "ledger", "logging", "metrics", "tracing")
        for name in type(getattr(settings(), section)).model_fields
    }

    assert set(needs_restart((*sorted(made), "database"))) == (made - live) | {"database"}
