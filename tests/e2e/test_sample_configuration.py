"""A configuration of a page, word for word, in an empty folder: each line of it has its effect."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.commands import Service, farebox, service
from tests.e2e.running import bearer, chat_body

KEY = "sk-of-the-search-team-in-production"
ADMIN = "a-long-and-random-token"
SECRETS = {
    "FAREBOX_ADMIN_TOKEN": ADMIN,
    "OPENAI_API_KEY": "sk-simulated",
    "ANTHROPIC_API_KEY": "sk-simulated",
    "SEARCH_PROD_KEY": KEY,
}
SAMPLE = """\
database: sqlite:///data/farebox.db        # or postgresql://user:password@host/name
ledger: {unavailable: reject, durability: normal, lease_s: 60, hold_wait_s: 1}
admin_token: ${FAREBOX_ADMIN_TOKEN}
defaults: {max_output_tokens: 8192}
upstreams:
  openai:    {dialect: openai,    base_url: https://api.openai.com/v1,    api_key: "${OPENAI_API_KEY}"}
  anthropic: {dialect: anthropic, base_url: https://api.anthropic.com/v1, api_key: "${ANTHROPIC_API_KEY}"}
  local:     {dialect: openai,    base_url: http://127.0.0.1:8000/v1}
models:
  - {match: "gpt-*",    upstream: openai}
  - {match: "claude-*", upstream: anthropic}
  - {name: fast, targets: [openai/gpt-5-mini, local/qwen3-8b]}
  - {match: "*", upstream: openai}
teams:
  - name: search
    max_output_tokens: 1000
    max_input_tokens: 100000
    models: ["gpt-*", fast]
    budgets:
      - {limit_usd: 500, window: month}                      # blocks
      - {limit_usd: 50,  window: day, on_exceed: warn}
keys:
  - {name: search-prod, team: search, key: "${SEARCH_PROD_KEY}"}
prices:                                                       # before the price book
  - {upstream: local, model: "*", input_per_mtok: 0.10, output_per_mtok: 0.42}
"""


@pytest.fixture
async def sample(tmp_path: Path) -> AsyncIterator[Service]:
    """It serves; the environment leads its upstreams to a simulated one."""
    (tmp_path / "farebox.yaml").write_text(SAMPLE)
    async with serve_simulator(create_app()) as upstream:
        addresses = {
            "FAREBOX_UPSTREAMS__OPENAI__BASE_URL": f"{upstream}/v1",
            "FAREBOX_UPSTREAMS__LOCAL__BASE_URL": f"{upstream}/v1",
        }
        with service(tmp_path, changes=SECRETS | addresses) as running:
            yield running


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    """With its line, and what to do about it."""
    (tmp_path / "farebox.yaml").write_text(SAMPLE)
    missing = {name: value for name, value in SECRETS.items() if name != "SEARCH_PROD_KEY"}

    done = farebox("serve", cwd=tmp_path, changes=missing)

    assert done.returncode == 2
    assert "farebox.yaml:23: keys[0].key: the environment variable SEARCH_PROD_KEY is not set" in (
        done.stderr
    )


async def test_each_line_has_its_effect(sample: Service) -> None:
    """Also the folder of its database is made, and `openai` at another address has OpenAI's prices."""
    async with httpx.AsyncClient(base_url=sample.url, headers=bearer(KEY), timeout=30) as client:

        async def chat(model: str, prompt: str = "Hello", **more: Any) -> httpx.Response:
            body = chat_body(prompt, model=model, **more)
            return await client.post("/v1/chat/completions", json=body)

        answered = await chat("gpt-5-mini")
        named = await chat("fast", max_completion_tokens=5000)
        forbidden = await chat("claude-sonnet-4")
        too_long = await chat("gpt-5-mini", "word " * 150_000)
        listed = (await client.get("/v1/models")).json()["data"]
        budgets = (await client.get("/admin/v1/budgets", headers=bearer(ADMIN))).json()["items"]
        calls = (await client.get("/admin/v1/calls", headers=bearer(ADMIN))).json()["items"]

    assert (answered.status_code, named.status_code) == (200, 200)
    assert named.headers["x-farebox-output-cap"] == "1000; source=team"
    assert [(c["model_requested"], c["price_source"], c["upstream"]) for c in calls[2:]] == [
        ("fast", "pricebook", "openai"),
        ("gpt-5-mini", "pricebook", "openai"),
    ]
    assert forbidden.json()["error"]["code"] == "model_not_allowed"
    assert too_long.json()["error"]["code"] == "context_length_exceeded"
    assert {model["id"] for model in listed} >= {"fast", "gpt-5-mini"}
    assert [(b["id"], b["limit_usd"], b["on_exceed"]) for b in budgets] == [
        ("team:search:day:warn", "50.00", "warn"),
        ("team:search:month", "500.00", "block"),
    ]
