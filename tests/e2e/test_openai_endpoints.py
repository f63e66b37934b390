"""OpenAI's other endpoints by its own SDK: the same answer as without Farebox, and the provider's bill."""

from typing import Any

from tests.e2e.running import Row, Running, nano


async def both(run: Running, resource: str, method: str, **arguments: Any) -> tuple[Any, Any]:
    """What the SDK gets through Farebox, and what it gets directly."""
    answers = []
    async with run.sdk() as here, run.direct_sdk() as there:
        for sdk in (here, there):
            called: Any = sdk
            for name in resource.split("."):
                called = getattr(called, name)
            answers.append(await getattr(called, method)(**arguments))
    return answers[0], answers[1]


async def billed(run: Running) -> tuple[Row, Row]:
    """The one call's row, and the provider's line for it."""
    row = await run.only_call()
    return row, (await run.invoice())[0]


async def test_embeddings(run: Running) -> None:
    mine, theirs = await both(
        run, "embeddings", "create", model="text-embedding-3-small", input="water river"
    )
    row, line = await billed(run)

    assert mine == theirs
    assert (row["endpoint"], row["usage_source"]) == ("embeddings", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (line["prompt_tokens"], 0)
    assert nano(row["cost_usd"]) == line["cost_nano"] > 0
    assert await run.settled_cleanly() == line["cost_nano"]
