"""What budgets are for, when they start anew, and what they do with calls that nobody can bound."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Config, Running, nano

OTHER_KEY = KEY + "-other"
CALL: Config = {"model": "gpt-4o", "max_tokens": 100}
IMAGE = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
]


def search(*budgets: Config, **more: Any) -> list[Config]:
    """The team with these budgets."""
    return [{"name": "search", "budgets": list(budgets)} | more, {"name": "other"} | more]


async def refusing(run: Running, *, key: str = KEY, **body: Any) -> str:
    """Call until a budget refuses; its id."""
    for _ in range(20):
        answer = await run.chat("[[sim: output_tokens=100]]", key=key, **(CALL | body))
        if answer.status_code == 429:
            message: str = answer.json()["error"]["message"]
            return message.split("'")[1]
        assert answer.status_code == 200, answer.text
    raise AssertionError("no budget refused")


async def test_a_warn_budget_lets_through_and_warns(start: Start) -> None:
    """Over its limit, a warn budget shows it, and blocks nobody."""
    async with start(teams=search({"limit_usd": 0.0005, "on_exceed": "warn"})) as run:
        for _ in range(4):
            assert (await run.chat("Hello", **CALL)).status_code == 200
        budget = await run.budget("team:search:month:warn")
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        metrics = (await run.client.get("/metrics")).text
        assert await run.verify() == []
    assert nano(budget["spent_usd"]) == invoiced > 500_000
    assert budget["on_exceed"] == "warn"
    assert "farebox_budget_spent_usd{" in metrics


async def test_a_call_counts_in_every_window_it_falls_in(start: Start) -> None:
    """Hour, day, week, month and total each have what was spent, and end when the calendar says."""
    budgets = [{"limit_usd": 1, "window": w} for w in ("hour", "day", "week", "month", "total")]
    before = datetime.now(UTC)
    async with start(teams=search(*budgets)) as run:
        await run.chat("Hello", **CALL)
        spent = (await run.calls())[0]["cost_usd"]
        shown = {b["window"]: b for b in (await run.admin("GET", "/budgets"))["items"]}
        assert await run.verify() == []
    assert {budget["spent_usd"] for budget in shown.values()} == {spent}
    assert {w: b["resets_at"] for w, b in shown.items()} in (
        ends(before),
        ends(datetime.now(UTC)),  # a window may have ended while the test ran
    )


def ends(now: datetime) -> dict[str, str | None]:
    """When the windows end that hold this moment."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    ending = {
        "hour": hour + timedelta(hours=1),
        "day": day + timedelta(days=1),
        "week": day + timedelta(days=7 - day.weekday()),
        "month": (day.replace(day=1) + timedelta(days=32)).replace(day=1),
    }
    return {w: f"{end:%Y-%m-%dT%H:%M:%SZ}" for w, end in ending.items()} | {"total": None}


async def test_a_window_follows_the_calendar_of_its_time_zone(start: Start) -> None:
    """A day of Auckland ends at Auckland's midnight."""
    daily = {"limit_usd": 1, "window": "day", "timezone": "Pacific/Auckland"}
    async with start(teams=search(daily)) as run:
        budget = await run.budget("team:search:day")
    at = datetime.fromisoformat(budget["resets_at"])
    assert at.minute == 0
    assert at.hour in {11, 12}  # UTC, in summer and in winter


async def test_the_tightest_of_several_budgets_refuses(start: Start) -> None:
    """A call must fit them all; the refusal names the one with the least left."""
    budgets = [{"limit_usd": 0.012, "window": "day"}, {"limit_usd": 0.006, "window": "month"}]
    async with start(teams=search(*budgets)) as run:
        assert await refusing(run) == "team:search:month"
        await run.admin("PUT", "/budgets", json={"id": "team:search:month", "limit_usd": "1"})
        assert await refusing(run) == "team:search:day"
        day, month = await run.budget("team:search:day"), await run.budget("team:search:month")
        assert await run.verify() == []
    assert day["spent_usd"] == month["spent_usd"]


async def test_a_keys_budget_is_its_own(start: Start) -> None:
    """What one key may not spend any more, another of the same team still may."""
    keys = [
        {"name": "small", "team": "search", "key": KEY, "budgets": [{"limit_usd": 0.005}]},
        {"name": "large", "team": "search", "key": OTHER_KEY},
    ]
    async with start(keys=keys) as run:
        assert await refusing(run) == "key:small:month"
        assert (await run.chat("Hello", key=OTHER_KEY, **CALL)).status_code == 200
        assert await run.verify() == []


async def test_teams_of_an_organisation_share_its_budget(start: Start) -> None:
    """What one team spends, the others of its organisation lack."""
    organisations = [{"name": "acme", "budgets": [{"limit_usd": 0.005}]}]
    teams = search(organisation="acme")
    async with start(organisations=organisations, teams=teams) as run:
        assert await refusing(run) == "organisation:acme:month"
        assert await refusing(run, key=OTHER_KEY) == "organisation:acme:month"
        assert {row["organisation"] for row in await run.calls()} == {"acme"}
        assert await run.verify() == []


@pytest.mark.parametrize(
    ("scope", "one", "another"),
    [
        ("user", {"user": "ada"}, {"user": "bob"}),
        ("model", {"model": "gpt-4o"}, {"model": "gpt-4o-mini"}),
    ],
)
async def test_each_user_and_model_can_have_a_budget(
    start: Start, scope: str, one: Config, another: Config
) -> None:
    """A budget on "*" gives every value its own window."""
    budgets = [{"scope": scope, "limit_usd": 0.005, "window": "day"}]
    async with start(budgets=budgets) as run:
        assert await refusing(run, **one) == f"{scope}:*:day"
        assert (await run.chat("Hello", **(CALL | another))).status_code == 200
        assert await run.verify() == []


@pytest.mark.parametrize(
    ("scope", "header"),
    [("user", "user"), ("workflow", "workflow"), ("run", "run"), ("tag", "tags")],
)
async def test_attribution_headers_choose_the_budget(start: Start, scope: str, header: str) -> None:
    """Calls are charged to the user, workflow, run or tag that our headers name."""
    subject, other = ("team=red", "team=blue") if scope == "tag" else ("red", "blue")
    budgets = [{"scope": scope, "subject": subject, "limit_usd": 0.0001, "window": "day"}]
    async with start(budgets=budgets) as run:
        statuses = {}
        for value in (subject, other):
            run.client.headers[f"x-farebox-{header}"] = value
            statuses[value] = (await run.chat("Hello", **CALL)).status_code
    assert statuses == {subject: 429, other: 200}


# Calls that nobody can bound...


async def test_what_nothing_has_a_price_for_is_refused(start: Start) -> None:
    """A blocking budget refuses an unpriced model, and the error shows lines that make it work."""
    async with start(prices=[]) as run:
        refused = await run.chat("Hello", model="sim-default")
        error = refused.json()["error"]
        assert await run.invoice() == []
    assert (refused.status_code, error["code"]) == (400, "model_not_priced")
    assert refused.headers["x-should-retry"] == "false"
    lines = error["message"].split("configuration:\n")[1].split("\nor set")[0]
    shown = yaml.safe_load(lines)
    async with start(**shown) as run:
        answer = await run.chat("Hello", model="sim-default")
        row = (await run.calls())[-1]
    assert answer.status_code == 200
    assert row["cost_usd"] == "0.00"
    assert row["price_source"] == "configuration"


@pytest.mark.parametrize("where", ["budget", "defaults"])
async def test_unpriced_calls_can_be_allowed(start: Start, where: str) -> None:
    """``unpriced: allow`` lets them through; they are marked and counted, and never a silent zero."""
    budget = {"limit_usd": 1} | ({"unpriced": "allow"} if where == "budget" else {})
    defaults = {"unpriced": "allow"} if where == "defaults" else {}
    async with start(prices=[], teams=search(budget), defaults=defaults) as run:
        answer = await run.chat("Hello", model="sim-default")
        row = (await run.calls())[0]
        metrics = (await run.client.get("/metrics")).text
        assert await run.settled_cleanly() == 0
    assert answer.status_code == 200
    assert (row["price_source"], row["cost_usd"]) == ("unpriced", "0.00")
    assert row["output_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert "\nfarebox_unpriced_calls_total{" in metrics


async def test_without_a_blocking_budget_the_unpriced_pass(start: Start) -> None:
    """Nobody asked to be protected: the call goes through, and is marked."""
    async with start(prices=[]) as run:
        answer = await run.chat("Hello", key=OTHER_KEY, model="sim-default")
        assert answer.status_code == 200
        assert (await run.calls())[0]["price_source"] == "unpriced"


async def image(run: Running) -> Any:
    """A call with a picture at an address, which may make any number of tokens."""
    messages = [{"role": "user", "content": IMAGE}]
    return await run.chat(model="gpt-4o", max_tokens=50, messages=messages)


async def test_what_can_not_be_bounded_is_refused(start: Start) -> None:
    """A blocking budget refuses a picture by address, says why, and what to do."""
    async with start() as run:
        refused = await image(run)
        error = refused.json()["error"]
        assert await run.invoice() == []
        assert await run.settled_cleanly() == 0
    assert (refused.status_code, error["code"]) == (400, "call_not_bounded")
    assert refused.headers["x-should-retry"] == "false"
    assert "image_url" in error["message"]
    assert "'team:search:month'" in error["message"]


@pytest.mark.parametrize(
    ("policy", "more_nano"), [("allow", 0), ({"reserve_usd": "0.25"}, nano("0.25"))]
)
async def test_unbounded_calls_by_the_budgets_policy(
    start: Start, policy: Any, more_nano: int
) -> None:
    """``allow`` holds what the body bounds, ``reserve_usd`` so much more; the charge is the provider's."""
    async with start(teams=search({"limit_usd": 1, "unbounded": policy})) as run:
        answer = await image(run)
        plain = await run.chat(
            model="gpt-4o", max_tokens=50, messages=[{"role": "user", "content": [IMAGE[0]]}]
        )
        with_image, without = await run.calls()
        invoiced = sum(line["cost_nano"] for line in await run.invoice())
        assert await run.settled_cleanly() == invoiced
    assert (answer.status_code, plain.status_code) == (200, 200)
    difference = nano(with_image["held_usd"]) - nano(without["held_usd"])
    assert more_nano <= difference < more_nano + 1_000_000  # a longer body holds a little more


async def test_an_unbounded_call_is_refused_where_its_reserve_does_not_fit(start: Start) -> None:
    """The reserve counts: a budget with less left refuses with budget_exceeded."""
    policy = {"reserve_usd": "0.25"}
    async with start(teams=search({"limit_usd": 0.2, "unbounded": policy})) as run:
        refused = await image(run)
    assert refused.json()["error"]["code"] == "budget_exceeded"


async def test_an_overrun_is_recorded(start: Start) -> None:
    """A call that cost more than its hold, by the policy of its budget, shows as overdraft."""
    prompt = "[[sim: prompt_tokens=100000]]"
    async with start(teams=search({"limit_usd": 0.01, "unbounded": "allow"})) as run:
        answer = await run.chat(prompt, model="gpt-4o", max_tokens=50)
        budget = await run.budget()
        row = (await run.calls())[0]
        assert await run.verify() == []
    assert answer.status_code == 200
    assert nano(budget["overdraft_usd"]) == nano(row["cost_usd"]) - nano("0.01") > 0


async def test_shrink_lowers_the_cap_to_what_fits(start: Start) -> None:
    """``shrink: true`` gives a shorter answer instead of none, and says so; the rest is as asked."""
    async with start(teams=search({"limit_usd": 0.005, "shrink": True})) as run:
        answer = await run.chat("[[sim: output_tokens=3000]]", model="gpt-4o", max_tokens=3000)
        cap, source = answer.headers["x-farebox-output-cap"].split("; ")
        row = (await run.calls())[0]
        spent = await run.settled_cleanly()
        again = await run.chat("Hello", model="gpt-4o", max_tokens=3000)
    assert source == "source=budget"
    assert (row["output_cap"], row["output_cap_source"]) == (int(cap), "budget")
    assert run.heard.bodies[0]["max_tokens"] == int(cap) == row["output_tokens"]
    assert 100 < int(cap) < 3000
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert spent <= nano("0.005")
    assert again.status_code in {200, 429}  # the rest may allow a short answer, or none


async def test_shrink_leaves_room_for_what_must_be_reserved(start: Start) -> None:
    """What an unbounded call must have held on top is not given to its answer."""
    policy = {"unbounded": {"reserve_usd": "0.25"}, "shrink": True}
    async with start(teams=search({"limit_usd": 0.255} | policy)) as run:
        messages = [{"role": "user", "content": IMAGE}]
        answer = await run.chat(model="gpt-4o", max_tokens=3000, messages=messages)
        row = (await run.calls())[0]
    assert answer.status_code == 200
    assert 100 < row["output_cap"] < 3000
    assert nano("0.25") < nano(row["held_usd"]) <= nano("0.255")


async def test_shrink_comes_after_waiting(start: Start) -> None:
    """Where only another call is in the way, it is waited for; where that is in vain, the answer is shorter."""
    ledger = {"hold_wait_s": 0.2}
    async with start(teams=search({"limit_usd": 0.013, "shrink": True}), ledger=ledger) as run:
        body: Config = {"model": "gpt-4o", "max_tokens": 400}
        slow = asyncio.create_task(run.chat("[[sim: first_byte_ms=700]]", **body))
        await run.upstream_heard(1)
        second = await run.chat("Hello", **body)
        assert not slow.done()
        assert (await slow).headers["x-farebox-output-cap"] == "400; source=client"
        assert await run.verify() == []
    assert second.status_code == 200
    assert second.headers["x-farebox-output-cap"].endswith("source=budget")
    assert second.elapsed.total_seconds() >= 0.2


async def test_shrink_does_not_make_an_answer_of_nothing(start: Start) -> None:
    """Below a few tokens there is no answer: then the budget refuses."""
    async with start(teams=search({"limit_usd": 0.0012, "shrink": True})) as run:
        refused = await run.chat("Hello", model="gpt-4o", max_tokens=3000)
        assert run.heard.requests == 0
    assert refused.json()["error"]["code"] == "budget_exceeded"


async def test_a_stream_that_runs_past_its_hold_is_cut_there(start: Start) -> None:
    """Where a server tool's steps can't be capped, a hard budget's hold is what a stream may cost."""
    async with start(teams=search({"limit_usd": 1, "unbounded": "allow"})) as run:
        await run.app.house.tokenizer.load()
        answer = await run.chat(
            "[[sim: output_tokens=5000, ignore_max_tokens]]",
            stream=True,
            max_tokens=16,
            tools=[{"type": "web_search"}],
        )
        row = await run.row(answer.headers["x-farebox-call-id"])
        assert answer.text.count('"finish_reason":"length"') == 1
        assert nano(row["cost_usd"]) <= nano(row["held_usd"])
        assert (await run.attempts(row["id"]))[0]["flags"] == ["cut_at_hold"]
        assert await run.verify() == []
