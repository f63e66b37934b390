"""Calls of every kind at the same time, some of whose clients leave: the bill still adds up."""

import asyncio
from random import Random
from urllib.parse import urlsplit

import orjson
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, as_billed, as_invoiced, bearer, chat_body, nano
from tests.e2e.wire import message

WORDS = "water river morning light garden"
KINDS = (
    "sim-output-tokens-{n}",
    "sim-event-ms-2+output-tokens-{n}",
    "sim-split-7+output-tokens-{n}",
    "sim-split-char+no-usage+output-tokens-{n}",
    "sim-no-usage+output-tokens-{n}",
    "sim-choices-3+output-tokens-{n}",
    "sim-usage-on-finish-chunk+output-tokens-{n}",
    "sim-first-byte-ms-{n}",
    "sim-reject-stream-options+output-tokens-{n}",
    "sim-reasoning-tokens-{n}+cached-tokens-5",
    "sim-tool-calls-2",
    "sim-malformed-no-done+output-tokens-{n}",
    "sim-malformed-error+output-tokens-{n}",
    "sim-malformed-crlf+output-tokens-{n}",
    "sim-status-429",
    "sim-status-500",
    "sim-die-before-answer",
)
STREAMED_ONLY = (
    "sim-split-event+output-tokens-{n}+die-after-events-4",
    "sim-event-ms-1+output-tokens-{n}+die-close+die-after-events-5",
)


async def call(run: Running, random: Random) -> None:
    """One call of some kind, perhaps of a client that leaves at some point."""
    stream = random.random() < 0.7
    model = random.choice(KINDS + STREAMED_ONLY if stream else KINDS)
    body = chat_body(WORDS, model=model.format(n=random.randint(1, 60)), stream=stream)
    if random.random() < 0.2 and stream:
        body["stream_options"] = {"include_usage": True}
    data = orjson.dumps(body)
    address = urlsplit(run.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(message(headers=list((bearer(KEY) | {"connection": "close"}).items()), body=data))
    leaves = random.random() < 0.4
    wanted = random.randint(1, 6000) if leaves else 10**9
    try:
        while wanted > 0 and (piece := await reader.read(min(wanted, 2000))):
            wanted -= len(piece)
    except ConnectionError:
        pass
    if leaves and random.random() < 0.5:
        writer.transport.abort()
    writer.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everything_at_once(start: Start, seed: int) -> None:
    """150 calls, 30 at a time: as many rows, nothing held, and in sum what the provider bills."""
    random = Random(seed)
    places = asyncio.Semaphore(30)

    async def placed(number: int) -> None:
        async with places:
            await call(run, Random(f"{seed} {number} {random.random()}"))

    async with start(sim={"on_client_leave": "drain"}) as run:
        await asyncio.gather(*(placed(number) for number in range(150)))
        await run.is_idle()
        rows, lines = await run.calls(), await run.invoice()
        spent = await run.settled_cleanly()
    assert len(rows) == 150
    assert sum(row["attempts"] for row in rows) == len(lines)
    billed = {line["completion_id"]: as_invoiced(line) for line in lines if line["cost_nano"]}
    wrong = [
        (
            row["model_requested"],
            row["outcome"],
            as_billed(row),
            billed.get(row["upstream_call_id"]),
        )
        for row in rows
        if nano(row["cost_usd"]) and as_billed(row) != billed.get(row["upstream_call_id"])
    ]
    assert wrong == []
    assert spent == sum(line["cost_nano"] for line in lines)
