"""Files by OpenAI's SDK: passed through, each recorded at no cost."""

from typing import Any

import openai
import pytest

from tests.e2e.canned import whole
from tests.e2e.conftest import Start
from tests.e2e.running import KEY
from tests.e2e.wire import recorder

REAL = "sk-of-the-company"
LINES = (
    b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o"}}\n'
)
FILE: dict[str, Any] = {"id": "file-1", "object": "file", "bytes": len(LINES), "created_at": 1741569952,
                        "filename": "in.jsonl", "purpose": "batch", "status": "processed"}  # fmt: skip


def sections(url: str) -> dict[str, Any]:
    return {
        "upstreams": {"sim": {"preset": "openai", "base_url": f"{url}/v1", "api_key": REAL}},
        "models": [{"match": "*", "upstream": "sim"}],
    }


async def files(sdk: openai.AsyncOpenAI) -> list[Any]:
    made = await sdk.files.create(file=("in.jsonl", LINES), purpose="batch")
    return [made, await sdk.files.retrieve("file-1"), await sdk.files.delete("file-1")]


async def test_the_sdk_gets_what_it_gets_without_farebox(start: Start) -> None:
    """The provider hears the same: path, and body to the byte but for the boundary that each form has."""
    async with recorder(whole(FILE)) as upstream, start(**sections(upstream.url)) as run:
        async with run.sdk() as here:
            mine = await files(here)
        async with openai.AsyncOpenAI(base_url=f"{upstream.url}/v1", api_key=REAL) as there:
            theirs = await files(there)
        rows = await run.calls()
        assert await run.verify() == []

    assert mine == theirs
    first, second = upstream.requests[:3], upstream.requests[3:]
    assert [r.line for r in first] == [r.line for r in second]
    assert [LINES in r.body or r.body for r in first] == [LINES in r.body or r.body for r in second]
    assert all(KEY not in str(r) for r in first)
    assert [(row["usage_source"], row["cost_usd"]) for row in rows] == [("none", "0.00")] * 3


async def test_what_no_body_bounds_does_not_pass_a_spent_budget(start: Start) -> None:
    """Nothing but what is free passes it."""
    budgets = [{"limit_usd": "0.000000001", "window": "month"}]
    teams = [{"name": "search", "budgets": budgets}]
    async with recorder(whole(FILE)) as upstream:
        async with start(**sections(upstream.url), teams=teams) as run, run.sdk() as sdk:
            with pytest.raises(openai.RateLimitError, match="team:search:month"):
                await sdk.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "x"}]
                )
            assert (await sdk.files.retrieve("file-1")).id == "file-1"
        assert len(upstream.requests) == 1
