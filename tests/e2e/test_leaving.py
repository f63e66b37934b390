"""A client that leaves: whenever it does, the call has one row, and its hold is closed."""

import asyncio
import fcntl
import socket
import struct
import termios
from array import array
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import (
    Config,
    Row,
    Running,
    as_billed,
    as_invoiced,
    bearer,
    chat_body,
    eventually,
)
from tests.e2e.wire import message

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time at all
STREAM = "sim-event-ms-4+output-tokens-30"
FIRST_WAIT = "sim-first-byte-ms-150+output-tokens-30"
PROMPT = "water river morning light"


@dataclass(slots=True)
class Client:
    """A client that reads as much as it wants to, and leaves."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: bytes = b""

    async def read_until(self, mark: bytes, times: int = 1) -> None:
        """Read until so many marks have come."""
        while self.seen.count(mark) < times:
            piece = await self.reader.read(1000)
            assert piece, self.seen
            self.seen += piece

    async def leave(self, how: str = "close") -> None:
        """Close the connection, in order or with a reset."""
        if how == "reset":
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.close()
        await self.writer.wait_closed()

    @property
    def words(self) -> int:
        """How many words of the answer it has seen."""
        events = self.seen.split(b"\n\n")
        return sum(b'"content":"' in e and b'"content":""' not in e for e in events)


async def calling(run: Running, *, sent: float = 1, **body: object) -> Client:
    """A client that has sent (so much of) a chat completion."""
    address = urlsplit(run.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    data = orjson.dumps(chat_body(PROMPT, **body))
    headers = [*bearer("fb-sk-test-of-the-search-team").items()]
    request = message(headers=headers, body=data)
    writer.write(request[: len(request) - round(len(data) * (1 - sent))])
    await writer.drain()
    return Client(reader, writer)


async def one_of_each(run: Running) -> tuple[Row, Row]:
    """The only row and the only line of the invoice, once both sides are done with the call."""
    row = await run.only_call()

    async def invoiced() -> list[Row]:
        return await run.invoice()

    (line,) = await eventually(invoiced)
    return row, line


WHEN: dict[str, tuple[str, bytes, int]] = {
    "before the answer": (FIRST_WAIT, b"", 0),
    "after its head": (STREAM, b"\r\n\r\n", 1),
    "after its first event": (STREAM, b"\n\n", 1),
    "in its middle": (STREAM, b"\n\n", 15),
    "after its last word": (STREAM, b'"finish_reason":"stop"', 1),
}


async def stream_and_leave(run: Running, when: str, how: str) -> Client:
    """Ask for a stream, and leave at this point."""
    model, mark, times = WHEN[when]
    client = await calling(run, model=model, stream=True)
    await run.upstream_heard(1)
    await client.read_until(mark, times)
    await client.leave(how)
    return client


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", WHEN)
async def test_a_stream_is_drained_where_the_provider_bills_it_whole(
    start: Start, when: str, how: str
) -> None:
    """``drain``: the stream is read to its end, and the row is the provider's bill to the nano-dollar."""
    async with start(sim={"on_client_leave": "drain"}) as run:
        await stream_and_leave(run, when, how)
        row, line = await one_of_each(run)
        assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert line["outcome"] == "completed"
    assert row["output_tokens"] == 30
    assert row["usage_source"] == "provider"
    assert row["outcome"] in {"client_left", "completed" if "last" in when else ""}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", WHEN)
async def test_a_stream_is_left_where_that_ends_the_bill(start: Start, when: str, how: str) -> None:
    """``abort``: the provider is left too; the row has what was relayed, counted, and never more than is billed."""
    async with start(sim={"on_client_leave": "abort"}) as run:
        client = await stream_and_leave(run, when, how)
        row, line = await one_of_each(run)
        spent = await run.settled_cleanly()
        (attempt,) = await run.attempts(row["id"])
    assert row["input_tokens"] == line["prompt_tokens"]
    assert client.words <= row["output_tokens"] <= line["completion_tokens"] <= 30
    assert spent == row["input_tokens"] * 1000 + row["output_tokens"] * 4000
    if "last" in when:
        return  # the end may have been on its way already
    assert (row["outcome"], row["usage_source"]) == ("client_left", "counted")
    assert line["outcome"] == "client_left"
    assert line["completion_tokens"] - row["output_tokens"] <= 2  # what was still on its way
    assert attempt["error"] == "client_left"


async def test_what_a_provider_bills_whole_is_charged_whole_though_it_is_left(start: Start) -> None:
    """Groq's does not stop when it loses us: the rest is what such an answer usually has, as an estimate."""
    model = f"{STREAM}+bill-on-leave-full"
    async with start(sim={"preset": "groq", "on_client_leave": "abort"}) as run:
        usual = await calling(run, model=model, stream=True)
        await usual.read_until(b"data: [DONE]")
        await usual.leave()
        await eventually(run.invoice)
        client = await calling(run, model=model, stream=True)
        await client.read_until(b"\n\n", 10)
        await client.leave()

        async def both() -> list[Row]:
            lines = await run.invoice()
            return lines if len(lines) == 2 else []

        _, line = await eventually(both)
        await run.settled_cleanly()
        row = next(row for row in await run.calls() if row["outcome"] == "client_left")
    assert (line["outcome"], line["completion_tokens"]) == ("client_left", 30)
    assert (row["usage_source"], row["output_tokens"]) == ("estimated", 30)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("policy", ["drain", "abort"])
async def test_what_is_not_streamed_is_always_finished(start: Start, policy: str, how: str) -> None:
    """The provider bills it whole: it is waited for, and recorded as the client would have had it."""
    async with start(sim={"on_client_leave": policy}) as run:
        client = await calling(run, model=FIRST_WAIT)
        await run.upstream_heard(1)
        await client.leave(how)
        row, line = await one_of_each(run)
        assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert (line["outcome"], line["completion_tokens"]) == ("completed", 30)
    assert (row["outcome"], row["usage_source"]) == ("client_left", "provider")


@pytest.mark.parametrize("policy", ["drain", "abort"])
async def test_a_large_whole_answer_is_finished_too(start: Start, policy: str) -> None:
    """One that is too large to be held back is relayed as it comes, and still read to its end."""
    async with start(sim={"on_client_leave": policy}) as run:
        client = await calling(run, model="sim-output-tokens-1200000")
        await client.read_until(b'"content"')
        await client.leave("reset")
        row, line = await one_of_each(run)
        assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], row["output_tokens"]) == ("client_left", 1_200_000)


@pytest.mark.parametrize("policy", ["drain", "abort"])
async def test_a_client_that_does_not_read_and_leaves(start: Start, policy: str) -> None:
    """A call that waits for a slow reader goes on, or ends, when that reader is gone."""
    async with start(sim={"on_client_leave": policy}) as run:
        client = await calling(run, model="sim-output-tokens-80000", stream=True)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        raw = client.writer.get_extra_info("socket")
        sizes = [0]

        async def stuck() -> bool:
            """What waits in the client's socket does not grow any more."""
            waiting = array("i", [0])
            fcntl.ioctl(raw.fileno(), termios.FIONREAD, waiting)
            sizes.append(waiting[0])
            return sizes[-1] > 0 and len(sizes) > 40 and len(set(sizes[-40:])) == 1

        await eventually(stuck)
        assert await run.invoice() == []
        client.writer.transport.abort()
        row, line = await one_of_each(run)
        spent = await run.settled_cleanly()
    assert row["outcome"] == "client_left"
    if policy == "drain":
        assert as_billed(row) == as_invoiced(line)
        assert (spent, row["output_tokens"]) == (line["cost_nano"], 80_000)
    else:
        assert 0 < row["output_tokens"] <= line["completion_tokens"] < 80_000


async def test_leaving_after_the_answer_is_no_leaving(run: Running) -> None:
    """A client that has all of it and closes is a completed call."""
    client = await calling(run, model=STREAM, stream=True)
    await client.read_until(b"0\r\n\r\n")
    await client.leave()
    row, line = await one_of_each(run)
    assert as_billed(row) == as_invoiced(line)
    assert row["outcome"] == "completed"


async def test_leaving_before_the_request_is_complete(run: Running) -> None:
    """Nothing is forwarded and nothing held; the attempt to call is on record."""
    client = await calling(run, sent=0.5, stream=True)

    async def taken() -> bool:
        return run.app.house.pipeline.in_flight == 1

    await eventually(taken)
    await client.leave()
    row = await run.only_call()
    assert run.heard.requests == 0
    assert (row["outcome"], row["attempts"], row["cost_usd"]) == ("client_left", 0, "0.00")
    assert await run.settled_cleanly() == 0


async def test_leaving_while_waiting_for_the_budget(start: Start) -> None:
    """A call that nobody waits for any more is not forwarded when its turn comes."""
    budget = {"limit_usd": 0.004}
    teams = [{"name": "search", "budgets": [budget]}]
    async with start(teams=teams, ledger={"hold_wait_s": 5}) as run:
        body: Config = {"model": "gpt-4o", "max_tokens": 100}
        slow = asyncio.create_task(run.chat("[[sim: first_byte_ms=400]]", **body))
        await run.upstream_heard(1)
        client = await calling(run, **body)

        async def both() -> bool:
            return run.app.house.pipeline.in_flight == 2

        await eventually(both)
        await client.leave()
        assert (await slow).status_code == 200
        await run.is_idle()
        rows = await run.calls()
        assert run.heard.requests == 1
        assert await run.verify() == []
        assert (await run.budget())["held_usd"] == "0.00"
    assert sorted(row["outcome"] for row in rows) == ["client_left", "completed"]


async def test_draining_has_an_end(start: Start) -> None:
    """A stream that hangs is left after ``drain_s``; what came is counted."""
    sim = {"on_client_leave": "drain", "drain_s": 0.1}
    async with start(sim=sim) as run:
        model = "sim-split-event+output-tokens-9+stall-after-events-5"
        client = await calling(run, model=model, stream=True)
        await client.read_until(b"\n\n", 5)
        await client.leave()
        row, line = await one_of_each(run)
        assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert (row["outcome"], row["usage_source"], row["output_tokens"]) == (
        "client_left",
        "counted",
        4,
    )


async def test_draining_has_a_bound(start: Start) -> None:
    """Beyond ``max_draining`` streams are left at once."""
    sim = {"on_client_leave": "drain", "max_draining": 1}
    async with start(sim=sim) as run:
        clients = [await calling(run, model=STREAM, stream=True) for _ in range(3)]
        for client in clients:
            await client.read_until(b"\n\n", 2)
        for client in clients:
            await client.leave()
        await run.is_idle()
        rows = await run.calls()
        assert await run.verify() == []
    assert sorted(row["usage_source"] for row in rows) == ["counted", "counted", "provider"]
    assert {row["outcome"] for row in rows} == {"client_left"}


async def test_an_upstream_that_dies_after_its_client_left(start: Start) -> None:
    """What came before both had gone is counted; the error says that the upstream broke off."""
    async with start(sim={"on_client_leave": "drain"}) as run:
        model = "sim-event-ms-20+output-tokens-9+die-after-events-5"
        client = await calling(run, model=model, stream=True)
        await client.read_until(b"\n\n", 2)
        await client.leave()
        row, line = await one_of_each(run)
        (attempt,) = await run.attempts(row["id"])
        assert await run.settled_cleanly() == line["cost_nano"]
    assert as_billed(row) == as_invoiced(line)
    assert row["outcome"] == "client_left"
    assert attempt["error"] == "truncated"


async def test_many_leave_at_once(start: Start) -> None:
    """Sixty clients that leave anywhere: sixty rows, nothing held, and drained to the nano-dollar."""
    async with start(sim={"on_client_leave": "drain"}) as run:

        async def one(number: int) -> None:
            client = await calling(run, model=STREAM, stream=True)
            await client.read_until(b"\n\n", number % 30 + 1)
            await client.leave("reset" if number % 2 else "close")

        await asyncio.gather(*(one(number) for number in range(60)))
        await run.is_idle()
        rows, lines = await run.calls(), await run.invoice()
        assert len(rows) == len(lines) == 60
        assert await run.settled_cleanly() == sum(line["cost_nano"] for line in lines)
    by_id = {line["completion_id"]: as_invoiced(line) for line in lines}
    assert {row["upstream_call_id"]: as_billed(row) for row in rows} == by_id
