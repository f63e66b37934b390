"""Clients that keep Farebox waiting: a head or a body that trickles in, a connection that is not used."""

from tests.e2e.conftest import Start
from tests.e2e.requests import GOOD, WITH_KEY, assert_still_serves
from tests.e2e.wire import message, wired

SHORT = 0.05
KIB = 1024


async def test_a_head_has_to_come_in_its_time(start: Start) -> None:
    """A client that sends a line now and then is told so, and holds no connection."""
    async with start(server={"port": 0, "head_timeout_s": SHORT}) as run:
        for begun in (b"P", b"POST /v1/chat/completions HTTP/1.1\r\n", message()[:-2]):
            async with wired(run.url) as wire:
                await wire.send(begun)
                answer = await wire.answer()

                assert (answer.status, answer.error["code"]) == (408, "request_timeout")
                assert await wire.closed()
        assert await run.calls() == []
        await assert_still_serves(run)


async def test_a_body_has_to_go_on_coming(start: Start) -> None:
    """One that stops is refused, with a row; nothing is forwarded or held. Known heads are no way around."""
    async with start(server={"port": 0, "body_timeout_s": SHORT}) as run:
        for known in (False, True):
            async with wired(run.url) as wire:
                if known:
                    await wire.send(message(headers=WITH_KEY, body=GOOD))
                    assert (await wire.answer()).status == 200
                await wire.send(message(headers=WITH_KEY, body=GOOD)[:-1])
                answer = await wire.answer()

                assert (answer.status, answer.error["code"]) == (408, "request_timeout")
                assert "server.body_timeout_s" in answer.error["message"]
                assert await wire.closed()
            row = await run.row(answer.value(b"x-farebox-call-id").decode())
            assert (row["outcome"], row["status"]) == ("refused", 408)
            assert (row["refusal"], row["attempts"]) == ("request_timeout", 0)
        assert run.heard.requests == 1
        assert (await run.budget())["held_usd"] == "0.00"
        await assert_still_serves(run)


async def test_a_body_that_nobody_waits_for_has_its_time_too(start: Start) -> None:
    """A client that was answered before its body was there can't hold the connection with the rest."""
    async with start(server={"port": 0, "body_timeout_s": SHORT}) as run, wired(run.url) as wire:
        length = ("content-length", str(40 * KIB * KIB))
        await wire.send(message(headers=[*WITH_KEY, length]) + b"x" * KIB)

        assert (await wire.answer()).status == 413
        assert await wire.closed()


async def test_a_connection_that_is_not_used_is_closed(start: Start) -> None:
    """After its last answer as before its first request."""
    async with start(server={"port": 0, "keep_alive_s": SHORT, "head_timeout_s": SHORT}) as run:
        async with wired(run.url) as wire:
            assert await wire.closed()
        async with wired(run.url) as wire:
            for _ in range(2):
                await wire.send(message(headers=WITH_KEY, body=GOOD))
                assert (await wire.answer()).status == 200
            assert await wire.closed()


async def test_an_answer_takes_as_long_as_it_takes(start: Start) -> None:
    """Who waits for an answer keeps nobody waiting."""
    short = {"keep_alive_s": SHORT, "head_timeout_s": SHORT, "body_timeout_s": SHORT}
    async with start(server={"port": 0, **short}) as run, wired(run.url) as wire:
        slow = GOOD.replace(b"Hello", b"[[sim: first_byte_ms=300]]")
        await wire.send(message(headers=WITH_KEY, body=slow))

        assert (await wire.answer()).status == 200
