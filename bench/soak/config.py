"""The configuration of the replicas: budgets that fill up during a run, and patience that ends."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak.plan import Plan

ADMIN_TOKEN = "soak-admin-token"  # noqa: S105 - of servers that live for the run, on loopback
STEADY = "steady"
TIGHT = "team:tight:hour"
_TEAMS = (STEADY, "tight", "shrunk")
KEYS = {team: f"fb-soak-{team}-0123456789abcdef0123456789abcdef" for team in _TEAMS}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one replica keeps its things."""

    folder: Path
    port: int

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / "farebox.yaml"

    @property
    def spool(self) -> Path:
        """Where its settlements wait for the database."""
        return self.folder / "spool"


def tight_limit_usd(plan: Plan) -> float:
    """What fills up well before the window ends."""
    return round(0.00012 * max(plan.seconds, 10), 6)


def write(plan: Plan, place: Place, database: str, upstream: str, **changes: Any) -> None:
    """Write a replica's configuration, with some sections changed; JSON is YAML, too."""
    document = config(plan, place, database, upstream) | changes
    beside = place.config.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=1))
    beside.replace(place.config)


def config(plan: Plan, place: Place, database: str, upstream: str) -> dict[str, Any]:
    """Several budgets over each call; two upstreams, so that a call can have a second attempt."""
    tight = tight_limit_usd(plan)
    sim = {
        "preset": "openai",
        "base_url": f"{upstream}/v1",
        "api_key": "sk-simulated",
        "first_byte_timeout_s": plan.upstream_s,
        "idle_timeout_s": plan.upstream_s,
    }
    return {
        "database": database,
        "admin_token": ADMIN_TOKEN,
        "ledger": {
            "unavailable": plan.unavailable,
            "lease_s": plan.lease_s,
            "hold_wait_s": plan.hold_wait_s,
            "lost": plan.lost,
            "spool_dir": str(place.spool),
        },
        "server": {"host": "127.0.0.1", "port": place.port, "shutdown_grace_s": 5},
        "logging": {"level": "warning"},
        "defaults": {"max_output_tokens": 4096},
        "upstreams": {"sim": sim, "spare": {**sim, "on_client_leave": "drain", "drain_s": 2}},
        "models": [
            {"name": "fast", "targets": ["sim/gpt-4o-mini", "spare/gpt-4o-mini"]},
            {"name": "drained", "targets": ["spare/gpt-4o-mini"]},
            {"match": "*", "upstream": "sim"},
        ],
        "organisations": [{"name": "acme", "budgets": [{"limit_usd": 1000, "window": "month"}]}],
        "teams": [
            {"name": STEADY, "organisation": "acme", "budgets": [{"limit_usd": 100}]},
            {
                "name": "tight",
                "organisation": "acme",
                "budgets": [
                    {"limit_usd": tight, "window": "hour"},
                    {"limit_usd": tight, "window": "day", "on_exceed": "warn"},
                ],
            },
            {
                "name": "shrunk",
                "budgets": [{"limit_usd": tight / 2, "window": "day", "shrink": True}],
            },
        ],
        "budgets": [{"scope": "user", "subject": "*", "limit_usd": tight / 4, "window": "hour"}],
        "keys": [{"name": team, "team": team, "key": key} for team, key in KEYS.items()],
    }
