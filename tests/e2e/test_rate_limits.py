"""Rate limits of teams and keys."""

import openai
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, bearer

OTHER = KEY + "-second"


def limited(team: Config, key: Config | None = None) -> Config:
    """A team with two keys, the first of which may have limits of its own."""
    return {
        "teams": [{"name": "search", **team}],
        "keys": [
            {"name": "search-key", "team": "search", "key": KEY, **(key or {})},
            {"name": "second-key", "team": "search", "key": OTHER},
        ],
    }


async def test_more_requests_than_a_team_may_make_are_refused(start: Start) -> None:
    """With when to come again; nothing goes upstream, and the refusal is a row and a metric."""
    async with start(**limited({"requests_per_minute": 3})) as run:
        statuses = [(await run.chat(key=key)).status_code for key in (KEY, OTHER, KEY)]
        refused = await run.chat(key=OTHER)
        row = (await run.calls())[-1]
        shown = (await run.client.get("/metrics")).text
        asked = run.heard.requests
    assert statuses == [200, 200, 200]
    assert (refused.status_code, asked) == (429, 3)
    assert 0 < int(refused.headers["retry-after"]) <= 20
    assert "x-should-retry" not in refused.headers  # SDKs wait, and try again
    assert refused.json()["error"] == {
        "message": "The team 'search' may use 3 requests a minute, and has. Try again in "
        f"{refused.headers['retry-after']} s, or have its requests_per_minute raised.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert (row["outcome"], row["refusal"], row["status"], row["cost_usd"]) == (
        "refused", "rate_limit_exceeded", 429, "0.00",
    )  # fmt: skip
    assert 'reason="rate_limit_exceeded"' in shown


async def test_a_key_has_limits_of_its_own(start: Start) -> None:
    """What its limit refuses takes nothing of the team's."""
    both = limited({"requests_per_minute": 3}, {"requests_per_minute": 1})
    async with start(**both) as run:
        keys = (KEY, KEY, OTHER, OTHER, OTHER)
        statuses = [(await run.chat(key=key)).status_code for key in keys]
    assert statuses == [200, 429, 200, 200, 429]


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_counted_when_a_call_is_over(start: Start, *, stream: bool) -> None:
    """Who used up a minute's worth waits until they have come back."""
    async with start(**limited({"tokens_per_minute": 100})) as run:
        first = await run.chat("[[sim: output_tokens=200]]", stream=stream)
        await run.is_idle()
        refused = await run.chat()
    assert first.status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 60 <= int(refused.headers["retry-after"]) <= 150
    assert "100 tokens a minute" in refused.json()["error"]["message"]


async def test_each_api_hears_it_in_its_own_words(start: Start) -> None:
    async with start(**limited({"requests_per_minute": 1})) as run:
        await run.chat()
        messages = await run.client.post("/v1/messages", json={}, headers={"x-api-key": KEY})
        async with run.sdk(max_retries=0) as client:
            with pytest.raises(openai.RateLimitError) as raised:
                await client.embeddings.create(model="e", input="Hello")
    assert (messages.status_code, messages.json()["error"]["type"]) == (429, "rate_limit_error")
    assert raised.value.code == "rate_limit_exceeded"


async def test_what_is_no_call_is_not_counted(start: Start) -> None:
    """Asking which models there are, or what a call cost."""
    async with start(**limited({"requests_per_minute": 1})) as run:
        for _ in range(2):
            listed = await run.client.get("/v1/models", headers=bearer(KEY))
            assert (listed.status_code, listed.json()["object"]) == (200, "list")
        answer = await run.chat()
        assert answer.status_code == 200
        assert (await run.chat()).json()["error"]["code"] == "rate_limit_exceeded"
        assert (await run.client.get("/v1/models", headers=bearer(KEY))).status_code == 200
        assert (await run.row(answer.headers["x-farebox-call-id"]))["status"] == 200
