"""Who may call: Farebox's own keys, and the provider keys that applications already have."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, Config, Running, bearer, chat_body, eventually

CHAT = "/v1/chat/completions"
OTHER = {"name": "other-key", "team": "other", "key": KEY + "-other"}


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return answer.status_code, answer.json()["error"]["code"]


NO_KEYS: list[Config] = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer wrong"},
    {"authorization": KEY},
    {"authorization": f"Basic {KEY}"},
    {"authorization": f"Bearer {KEY} {KEY}"},
    {"authorization": f"Bearer {KEY[:-1]}"},
    {"authorization": f"Bearer {SIMULATED}"},
    {"authorization": "Bearer wr\u00f6ng"},
    {"x-api-key": "wrong"},
    {"authorization": "Bearer wrong", "x-api-key": KEY},
]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CHAT), ("GET", "/v1/models"), ("POST", "/v1/files"), ("GET", "/farebox/v1/calls/x")],
)
async def test_without_a_known_key_nothing_happens(run: Running, method: str, path: str) -> None:
    """401 in the shape that the SDK understands; nothing is forwarded, and no key is repeated."""
    for headers in NO_KEYS:
        raw = [(name, value.encode()) for name, value in headers.items()]
        answer = await run.client.request(method, path, headers=raw, json=chat_body())
        assert error(answer) == (401, "invalid_api_key"), headers
        assert "wrong" not in answer.text
        assert KEY[:-1] not in answer.text
    assert run.heard.requests == 0
    assert await run.calls() == []


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-goog-api-key"])
async def test_a_key_is_taken_where_other_dialects_carry_it(run: Running, header: str) -> None:
    """Other SDKs have headers of their own for it."""
    answer = await run.client.post(CHAT, json=chat_body(), headers={header: KEY})
    assert answer.status_code == 200


async def test_the_sdk_raises_its_own_exception(run: Running) -> None:
    """An unknown key is an AuthenticationError, as at the provider."""
    async with run.sdk("sk-unknown") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.chat.completions.create(model="gpt-4o", messages=[])
    assert caught.value.code == "invalid_api_key"


async def test_a_key_made_by_the_admin_works_at_once(run: Running) -> None:
    """Its secret is shown once; its calls carry its name and team."""
    made = await run.admin("POST", "/keys", json={"name": "made", "team": "other"})
    answer = await run.chat(key=made["secret"])
    assert answer.status_code == 200
    row = await run.only_call()
    assert (row["key"], row["team"]) == ("made", "other")
    assert made["secret"] not in (await run.client.get("/admin/v1/keys", headers=bearer(KEY))).text


async def test_a_revoked_key_is_refused(run: Running) -> None:
    """From the moment of its revocation; others go on."""
    made = await run.admin("POST", "/keys", json={"name": "made", "team": "search"})
    assert (await run.chat(key=made["secret"])).status_code == 200
    await run.admin("DELETE", "/keys/made")
    assert error(await run.chat(key=made["secret"])) == (401, "invalid_api_key")
    assert (await run.chat()).status_code == 200


async def test_a_rotated_key_works_on_for_its_grace(run: Running) -> None:
    """Without grace the old secret ends with the rotation; the new one is the same key."""
    made = await run.admin("POST", "/keys", json={"name": "made", "team": "search"})
    graceful = await run.admin("POST", "/keys/made/rotate", json={"grace_s": 60})
    for secret in (made["secret"], graceful["secret"]):
        assert (await run.chat(key=secret)).status_code == 200
    new = await run.admin("POST", "/keys/made/rotate", json={"grace_s": 0})
    assert error(await run.chat(key=graceful["secret"])) == (401, "invalid_api_key")
    assert (await run.chat(key=new["secret"])).status_code == 200
    assert {row["key"] for row in await run.calls()} == {"made"}


async def test_a_key_that_has_expired_is_refused(run: Running) -> None:
    """It works until its time is up, and not after."""
    soon = datetime.now(UTC) + timedelta(seconds=1)
    body = {"name": "brief", "team": "search", "expires_at": soon.isoformat()}
    made = await run.admin("POST", "/keys", json=body)
    assert (await run.chat(key=made["secret"])).status_code == 200

    async def refused() -> bool:
        answer = await run.chat(key=made["secret"])
        assert answer.status_code in {200, 401}
        return answer.status_code == 401

    await eventually(refused)
    assert datetime.now(UTC) >= soon


# Which models...


def restricted(team: list[str], key: list[str]) -> Config:
    """A team and a key that may use these models."""
    return {
        "teams": [{"name": "search", "models": team}],
        "keys": [{"name": "search-key", "team": "search", "key": KEY, "models": key}, OTHER],
    }


@pytest.mark.parametrize(
    ("team", "key", "model", "allowed"),
    [
        (["*"], ["*"], "gpt-4o", True),
        (["gpt-4o*"], ["*"], "gpt-4o-mini", True),
        (["gpt-4o*"], ["*"], "gpt-5", False),
        (["*"], ["gpt-5"], "gpt-5", True),
        (["*"], ["gpt-5"], "gpt-5-mini", False),
        (["gpt-*"], ["*-mini"], "gpt-5-mini", True),
        (["gpt-*"], ["*-mini"], "o4-mini", False),
        (["gpt-*"], ["*-mini"], "gpt-5", False),
        ([], ["*"], "gpt-5", False),
        (["gpt-4o"], ["*"], "GPT-4O", False),
    ],
)
async def test_a_model_must_be_allowed_to_team_and_key(
    start: Start, team: list[str], key: list[str], model: str, allowed: bool
) -> None:
    """Both lists have to let it through; a refusal names the model and is on record."""
    async with start(**restricted(team, key)) as run:
        answer = await run.chat(model=model)
        row = await run.only_call()
    if allowed:
        assert answer.status_code == 200
        return
    assert error(answer) == (403, "model_not_allowed")
    assert answer.json()["error"]["param"] == "model"
    assert model in answer.json()["error"]["message"]
    assert (row["outcome"], row["model_requested"]) == ("refused", model)
    assert run.heard.requests == 0


async def test_a_model_that_no_rule_knows_is_a_404(start: Start) -> None:
    """It leads nowhere, and the client is told so before anything is sent."""
    async with start(models=[{"match": "gpt-*", "upstream": "sim"}]) as run:
        answer = await run.chat(model="claude-opus-5")
        assert error(answer) == (404, "model_not_found")
        assert run.heard.requests == 0


# The provider's own keys...


def accepting(**rule: Any) -> Config:
    """Provider keys that are taken as the team "other", and an upstream with no key of ours."""
    return {
        "accept_provider_keys": [{"upstream": "sim", "team": "other"} | rule],
        "sim": {"api_key": None},
    }


RULES: list[Config] = [
    {"prefix": "sk-simu"},
    {"sha256": hashlib.sha256(SIMULATED.encode()).hexdigest()},
]


@pytest.mark.parametrize("rule", RULES, ids=["prefix", "sha256"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_providers_own_key_can_be_accepted(
    start: Start, rule: Config, stream: bool
) -> None:
    """``base_url`` is the only change: the client's own key goes on, and the team is charged."""
    async with start(**accepting(**rule)) as run:
        answer = await run.chat(key=SIMULATED, stream=stream)
        assert answer.status_code == 200
        row, line = await run.only_call(), (await run.invoice())[0]
        mine = await run.row(row["id"], key=SIMULATED)
    assert row["team"] == "other"
    assert SIMULATED not in str(row)
    assert row["output_tokens"] == line["completion_tokens"]
    assert mine == row


async def test_a_key_that_no_rule_accepts_is_unknown(start: Start) -> None:
    """Only the keys that were named are taken."""
    async with start(**accepting(prefix="sk-proj-")) as run:
        assert error(await run.chat(key=SIMULATED)) == (401, "invalid_api_key")
        assert run.heard.requests == 0


async def test_the_provider_judges_its_own_keys(start: Start) -> None:
    """One that was accepted by its prefix and is none is refused in the provider's words."""
    async with start(**accepting(prefix="sk-")) as run:
        answer = await run.chat(key="sk-made-up")
        row = await run.only_call()
    assert error(answer) == (401, "invalid_api_key")
    assert "x-simulated" in answer.headers
    assert (row["outcome"], row["status"], row["attempts"]) == ("completed", 401, 1)


async def test_a_providers_key_passes_other_requests_too(start: Start) -> None:
    """Pass-through and the list of models work with it."""
    async with start(**accepting(prefix="sk-")) as run:
        echo = await run.client.post("/v1/files", content=b"x", headers=bearer(SIMULATED))
        listed = await run.client.get("/v1/models", headers=bearer(SIMULATED))
    assert ["authorization", f"Bearer {SIMULATED}"] in echo.json()["headers"]
    assert "gpt-4o" in {model["id"] for model in listed.json()["data"]}


async def test_the_list_of_models_of_a_wrong_key_is_refused(start: Start) -> None:
    """The provider does not know it, and nor does the list pretend to."""
    async with start(**accepting(prefix="sk-")) as run:
        answer = await run.client.get("/v1/models", headers=bearer("sk-made-up"))
    assert error(answer) == (401, "invalid_api_key")


async def test_an_accepted_key_is_held_to_its_team(start: Start) -> None:
    """Models, caps and budgets of the team hold."""
    teams = [{"name": "other", "models": ["gpt-4o"], "budgets": [{"limit_usd": 0.0001}]}]
    async with start(teams=teams, **accepting(prefix="sk-")) as run:
        assert error(await run.chat(key=SIMULATED, model="gpt-5")) == (403, "model_not_allowed")
        assert error(await run.chat(key=SIMULATED, model="gpt-4o")) == (429, "budget_exceeded")
