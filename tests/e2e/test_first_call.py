"""One call, from end to end."""

from tests.e2e.running import Running, nano


async def test_a_call_is_forwarded_metered_priced_and_recorded(run: Running) -> None:
    """The row of a call is right to the token and the nano-dollar against the provider's invoice."""
    answer = await run.chat("Hello")
    assert answer.status_code == 200, answer.text
    row = await run.row(answer.headers["x-farebox-call-id"])
    line = (await run.invoice())[0]
    assert nano(row["cost_usd"]) == line["cost_nano"]
    assert row["input_tokens"] == line["prompt_tokens"]
    assert row["output_tokens"] == line["completion_tokens"]
    assert await run.verify() == []
