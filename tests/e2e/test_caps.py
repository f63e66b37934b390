"""Output and input caps: who sets them, where they are written, and what becomes of those who exceed them."""

from typing import Any

import orjson
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, Row, Running, as_billed, as_invoiced

LONG = "[[sim: output_tokens=500]]"


def capped(
    *,
    key: int | None = None,
    team: int | None = None,
    model: int | None = None,
    default: int | None = None,
    policy: str | None = None,
) -> Config:
    """A configuration with these caps."""
    rule = {"match": "*", "upstream": "sim", "max_output_tokens": model}
    secret = {"name": "search-key", "team": "search", "key": KEY, "max_output_tokens": key}
    limit = {"name": "search", "max_output_tokens": team, "budgets": [{"limit_usd": 100}]}
    return {
        "models": [rule],
        "keys": [secret],
        "teams": [limit | ({"on_over_cap": policy} if policy else {})],
        "defaults": {"max_output_tokens": default},
    }


@pytest.mark.parametrize(
    ("caps", "asked", "expected"),
    [
        ({}, None, None),
        ({}, 9, "9; source=client"),
        ({"default": 40}, None, "40; source=default"),
        ({"default": 40}, 30, "30; source=client"),
        ({"default": 40}, 50, "40; source=default"),
        ({"default": 40, "model": 30}, None, "30; source=model"),
        ({"default": 40, "model": 30, "team": 20}, 100, "20; source=team"),
        ({"default": 40, "model": 30, "team": 20, "key": 10}, 100, "10; source=key"),
        ({"default": 10, "model": 20, "team": 30, "key": 40}, 50, "10; source=default"),
        ({"team": 20, "key": 20}, 20, "20; source=client"),
    ],
)
async def test_the_least_of_all_caps_counts(
    start: Start, caps: Config, asked: int | None, expected: str | None
) -> None:
    """The cap is the least of client, key, team, model rule and default; the answer says whose it is."""
    limit: Config = {} if asked is None else {"max_tokens": asked}
    async with start(**capped(**caps)) as run:
        answer = await run.chat(LONG, **limit)
        row = (await run.calls())[0]
        line = (await run.invoice())[0]
    assert answer.headers.get("x-farebox-output-cap") == expected
    cap = int(expected.split(";")[0]) if expected else None
    assert run.heard.bodies[0].get("max_tokens") == cap
    assert row["output_tokens"] == (500 if cap is None else cap)
    assert (row["output_cap"], row["output_cap_source"]) == (
        cap,
        expected.split("=")[1] if expected else "none",
    )
    assert as_billed(row) == as_invoiced(line)


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-4o", {}, {"max_tokens": 20}),
        ("gpt-4o", {"max_tokens": 50}, {"max_tokens": 20}),
        ("gpt-4o", {"max_completion_tokens": 50}, {"max_completion_tokens": 20}),
        ("gpt-5", {}, {"max_completion_tokens": 20}),
        ("o4-mini", {}, {"max_completion_tokens": 20}),
        ("o4-mini", {"max_completion_tokens": 19}, {"max_completion_tokens": 19}),
        ("gpt-4o", {"max_tokens": None}, {"max_tokens": 20}),
    ],
)
async def test_the_cap_is_written_where_the_model_takes_it(
    start: Start, model: str, asked: Config, sent: Config
) -> None:
    """``max_completion_tokens`` for the models that refuse ``max_tokens``; else what the client used."""
    async with start(**capped(team=20)) as run:
        answer = await run.chat(LONG, model=model, **asked)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == min(sent.values())
        body = run.heard.bodies[0]
    assert {name: body[name] for name in body if name.startswith("max_")} == sent


async def test_an_upstream_can_have_a_parameter_of_its_own(start: Start) -> None:
    """``cap_parameter`` of the upstream decides where the client said nothing."""
    sim = {"cap_parameter": "max_completion_tokens"}
    async with start(**capped(team=20), sim=sim) as run:
        await run.chat(LONG)
        body = run.heard.bodies[0]
    assert {name: body[name] for name in body if name.startswith("max_")} == {
        "max_completion_tokens": 20
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_the_cap_holds_for_each_choice(start: Start, stream: bool) -> None:
    """With ``n`` choices each may have the cap; what is held covers them all."""
    async with start(**capped(team=20)) as run:
        answer = await run.chat(LONG, n=3, stream=stream)
        assert answer.status_code == 200
        one = await run.chat(LONG, stream=stream)
        three, single = await run.calls()
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        assert await run.settled_cleanly() == invoiced
    assert three["output_tokens"] == 60
    assert single["output_tokens"] == 20
    assert answer.headers["x-farebox-output-cap"] == one.headers["x-farebox-output-cap"]
    assert float(three["held_usd"]) > float(single["held_usd"])


@pytest.mark.parametrize("parameter", ["max_tokens", "max_completion_tokens"])
async def test_asking_for_more_can_be_an_error(start: Start, parameter: str) -> None:
    """``on_over_cap: reject`` tells the client, names its parameter, and sends nothing."""
    async with start(**capped(team=20, policy="reject")) as run:
        more: Config = {parameter: 21}
        refused = await run.chat(LONG, **more)
        allowed = await run.chat(LONG, **(more | {parameter: 20}))
        unasked = await run.chat(LONG)
        assert run.heard.requests == 2
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "max_output_tokens_exceeded")
    assert error["param"] == parameter
    assert "20" in error["message"]
    assert "21" in error["message"]
    assert (allowed.status_code, unasked.status_code) == (200, 200)
    assert unasked.headers["x-farebox-output-cap"] == "20; source=team"


async def test_a_teams_policy_comes_before_the_default(start: Start) -> None:
    """``defaults.on_over_cap`` holds for teams that say nothing."""
    caps = capped(team=20, policy="clamp")
    caps["defaults"]["on_over_cap"] = "reject"
    caps["keys"].append({"name": "other-key", "team": "other", "key": KEY + "-other"})
    caps["teams"].append({"name": "other", "max_output_tokens": 20})
    async with start(**caps) as run:
        assert (await run.chat(LONG, max_tokens=30)).status_code == 200
        refused = await run.chat(LONG, max_tokens=30, key=KEY + "-other")
    assert refused.json()["error"]["code"] == "max_output_tokens_exceeded"


# Upstreams that don't care...


def spoken(chunks: list[Row], choice: int = 0) -> str:
    """The text of one choice of a stream."""
    return "".join(
        c["delta"].get("content") or ""
        for chunk in chunks
        for c in chunk["choices"]
        if c["index"] == choice
    )


async def streamed(run: Running, prompt: str, **body: Any) -> list[Row]:
    """The chunks of a stream, which must end with [DONE]."""
    answer = await run.chat(prompt, stream=True, **body)
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    return [orjson.loads(event.removeprefix("data: ")) for event in events[:-1]]


@pytest.mark.parametrize("pace", [",event_ms=1", ",split=event", ",split=1"])
async def test_a_stream_past_its_cap_is_cut(start: Start, pace: str) -> None:
    """An upstream that ignores the parameter is ended at the cap, as if it had ended there itself."""
    prompt = f"[[sim: output_tokens=60,ignore_max_tokens{pace}]]"
    async with start(**capped(team=20)) as run:
        chunks = await streamed(run, prompt)
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
        assert await run.verify() == []
    assert [c["choices"][0]["finish_reason"] for c in chunks[-2:]] == [None, "length"]
    assert len(spoken(chunks).split()) == 20
    assert {chunk["id"] for chunk in chunks} == {row["upstream_call_id"]}
    assert row["output_tokens"] == 20
    assert row["usage_source"] == "counted"
    assert (row["outcome"], row["status"]) == ("completed", 200)
    assert attempt["flags"] == ["cut_at_cap"]


async def test_what_is_cut_is_drained_where_all_of_it_is_billed(start: Start) -> None:
    """The client has its answer at the cap; the row has what the provider bills in the end."""
    prompt = "[[sim: output_tokens=60,ignore_max_tokens,event_ms=5]]"
    async with start(**capped(team=20), sim={"on_client_leave": "drain"}) as run:
        chunks = await streamed(run, prompt)
        assert await run.invoice() == []  # it has not finished yet
        assert len(spoken(chunks).split()) == 20
        assert (await run.chat("Hello")).status_code == 200  # the connection is free already
        await run.is_idle()
        (line,) = [i for i in await run.invoice() if i["stream"]]
        (row,) = [r for r in await run.calls() if r["stream"]]
        assert await run.verify() == []
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], row["output_tokens"]) == ("completed", 60)


async def test_draining_what_is_cut_has_an_end(start: Start) -> None:
    """After ``drain_s`` the provider is left; the row has what was counted."""
    prompt = "[[sim: output_tokens=60,ignore_max_tokens,event_ms=1,stall_after_events=40]]"
    async with start(**capped(team=20), sim={"on_client_leave": "drain", "drain_s": 0.1}) as run:
        await streamed(run, prompt)
        row = await run.only_call()
        (attempt,) = await run.attempts(row["id"])
        assert await run.verify() == []
    assert (row["outcome"], row["output_tokens"], row["usage_source"]) == (
        "completed",
        20,
        "counted",
    )
    assert attempt["error"] == ""


async def test_a_cut_stream_has_the_usage_that_was_asked_for(start: Start) -> None:
    """The client that asked for usage gets it, counted, in the last chunk; its row says the same."""
    prompt = "[[sim: output_tokens=60,ignore_max_tokens,event_ms=1]]"
    async with start(**capped(team=20)) as run:
        chunks = await streamed(run, prompt, stream_options={"include_usage": True})
        row = await run.only_call()
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == row["output_tokens"] == 20
    assert chunks[-1]["usage"]["prompt_tokens"] == row["input_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


async def test_choices_are_cut_together(start: Start) -> None:
    """With ``n`` choices the cap counts for all of them: n times that of one."""
    prompt = "[[sim: output_tokens=60,ignore_max_tokens,event_ms=1]]"
    async with start(**capped(team=20)) as run:
        chunks = await streamed(run, prompt, n=2)
        row = await run.only_call()
    assert row["output_tokens"] == 40
    assert [len(spoken(chunks, choice).split()) for choice in (0, 1)] == [20, 20]
    endings = [c["choices"][0]["finish_reason"] for c in chunks[-2:]]
    assert endings == ["length", "length"]


async def test_a_whole_answer_past_its_cap_is_billed_as_it_came(start: Start) -> None:
    """What is not streamed is paid for when it comes: it is passed on, and charged as the provider does."""
    prompt = "[[sim: output_tokens=60,ignore_max_tokens]]"
    async with start(**capped(team=20)) as run:
        answer = await run.chat(prompt)
        row, line = (await run.calls())[0], (await run.invoice())[0]
        assert await run.settled_cleanly() == line["cost_nano"]
    assert answer.json()["usage"]["completion_tokens"] == 60
    assert as_billed(row) == as_invoiced(line)


async def test_a_stream_within_its_cap_is_not_touched(start: Start) -> None:
    """An answer of exactly the cap is whole, with its own ending and the provider's usage."""
    prompt = "[[sim: output_tokens=20,ignore_max_tokens,event_ms=1]]"
    async with start(**capped(team=20)) as run:
        chunks = await streamed(run, prompt)
        row, line = await run.only_call(), (await run.invoice())[0]
        (attempt,) = await run.attempts(row["id"])
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert attempt["flags"] == []
    assert as_billed(row) == as_invoiced(line)


# Input...


async def test_too_long_an_input_is_refused(start: Start) -> None:
    """Over ``max_input_tokens`` the client is told what it sent and what it may; nothing is forwarded."""
    teams = [{"name": "search", "max_input_tokens": 100}]
    async with start(teams=teams) as run:
        refused = await run.chat("water " * 95)  # and what wraps a message
        row = (await run.calls())[0]
        assert run.heard.requests == 0
        # Tokens count, not bytes.
        allowed = await run.chat("water " * 90)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "messages"
    assert "100" in error["message"]
    assert (row["outcome"], row["refusal"]) == ("refused", "context_length_exceeded")
    assert allowed.status_code == 200
