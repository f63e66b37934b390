"""``farebox serve --demo``: something to call within a minute, with or without a provider's key."""

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from proxy.settings import (
    BudgetSettings,
    KeySettings,
    ModelRule,
    Settings,
    TeamSettings,
    UpstreamSettings,
)

TEAM = "demo"
_OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's settings, and what to tell the person who started it."""

    settings: Settings
    key: str
    simulated: bool

    def greeting(self) -> str:
        """What to use, ready to be copied."""
        base, farebox = _address(self.settings), _command("farebox")
        here = find_spec("openai") is not None
        python = _command(Path(sys.executable).name) if here else "python3"
        provider = (
            "the built-in SIMULATED provider (no OPENAI_API_KEY in the environment)"
            if self.simulated
            else "OpenAI (OPENAI_API_KEY)"
        )
        return f"""
Farebox is at {base} and forwards to {provider}.

  Key of team {TEAM!r}, $5.00 a month:  {self.key}
  Admin token:                     {self.settings.admin_token}

Call it:

  curl {base}/v1/chat/completions -H "Authorization: Bearer {self.key}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "Hello"}}]}}'

or with OpenAI's SDK (pip install openai):

  {python} -c 'from openai import OpenAI; \\
    c = OpenAI(base_url="{base}/v1", api_key="{self.key}"); \\
    print(c.chat.completions.create(model="gpt-4o-mini", messages=[{{"role": "user", "content": "Hello"}}]))'

See what it cost, set a budget, and see the next call refused:

  {farebox} report spend --by team,model
  {farebox} budgets set --team {TEAM} --limit-usd 0.0001 --window day

The same as pages (log in with the admin token): {base}/ui
What Farebox counted, in Prometheus' format: {base}/metrics    Admin API: {base}/admin/docs
"""


def demo(settings: Settings, environment: Mapping[str, str], simulator_url: str) -> Demo:
    """The configuration of a demo: ``settings``, completed by an upstream, a team and a key.

    The key and the admin token are made once and kept beside the database, readable by the owner
    only, so that a restart changes nothing.
    """
    folder = settings.sqlite_path.parent if settings.sqlite_path else Path("data")
    key = _kept(folder / "demo-key", "fb-sk-")
    openai_key = environment.get("OPENAI_API_KEY", "")
    upstream = UpstreamSettings(
        preset="openai",
        base_url=_OPENAI if openai_key else simulator_url,
        api_key=openai_key or "sk-simulated",
    )
    team = TeamSettings(
        name=TEAM, budgets=[BudgetSettings.model_validate({"limit_usd": 5, "window": "month"})]
    )
    name = "openai" if openai_key else "simulator"
    completed = settings.model_copy(
        update={
            "admin_token": settings.admin_token or _kept(folder / "demo-admin-token", "fb-admin-"),
            "upstreams": {name: upstream},
            "models": [ModelRule(match="*", upstream=name)],
            "teams": [*(t for t in settings.teams if t.name != TEAM), team],
            "keys": [*settings.keys, KeySettings(name=f"{TEAM}-key", team=TEAM, key=key)],
        }
    )
    return Demo(completed, key, simulated=not openai_key)


def _address(settings: Settings) -> str:
    """Where a program on this machine finds Farebox, also where it listens on every address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def _command(name: str) -> str:
    """What to type for a program that is installed beside this Python."""
    path = Path(sys.executable).parent / name
    if shutil.which(name) == str(path):
        return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _kept(path: Path, prefix: str) -> str:
    """A secret in a file, made on first use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    secret = prefix + secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    return secret
