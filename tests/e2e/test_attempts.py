"""Whatever is sent upstream is an attempt in the ledger: what is sent again, too."""

from tests.e2e.running import Running


async def test_a_request_that_is_sent_again_is_a_second_attempt(run: Running) -> None:
    """An old connection broke without a word: the upstream may have read the request, and bill it."""
    await run.chat()  # leaves a connection behind
    answer = await run.chat(model="sim-die-before-answer")
    await run.verify()
    _, row = await run.calls()
    attempts = await run.attempts(row["id"])

    assert answer.status_code == 502
    assert [(a["number"], a["error"], a["usage_source"]) for a in attempts] == [
        (1, "connection", "none"),
        (2, "connection", "none"),
    ]
    assert [line["outcome"] for line in await run.invoice()] == ["completed", "died", "died"]
    assert row["cost_usd"] == "0.00"


async def test_a_request_on_a_new_connection_is_sent_once(run: Running) -> None:
    answer = await run.chat(model="sim-die-before-answer")
    row = await run.only_call()

    assert answer.status_code == 502
    assert len(await run.attempts(row["id"])) == 1
    assert len(await run.invoice()) == 1
