"""A head that comes again on its connection is not parsed again: nothing else may tell."""

import json

import pytest

from tests.e2e.conftest import Start
from tests.e2e.requests import GOOD, WITH_KEY, chat
from tests.e2e.running import Running
from tests.e2e.wire import ask, message, wired

FIRST = message(headers=WITH_KEY, body=GOOD)
HEAD, _, _ = FIRST.partition(b"\r\n\r\n")
LENGTH = b"content-length: %d" % len(GOOD)


async def test_each_request_is_its_own(run: Running) -> None:
    """Whatever the length of its body, and in however many pieces it comes."""
    bodies = [chat(f',"user":"{"u" * n}","max_tokens":{n}') for n in (1, 9, 10, 100, 2, 2)]
    async with wired(run.url) as wire:
        answers = []
        for body in bodies:
            await wire.send(message(headers=WITH_KEY, body=body))
            answers.append(await wire.answer())
        for body in bodies:
            whole = message(headers=WITH_KEY, body=body)
            await wire.send(whole[: -len(body)])
            await wire.send(body[:5])
            await wire.send(body[5:])
            answers.append(await wire.answer())

    assert [answer.status for answer in answers] == [200] * 12
    rows = [await run.row(answer.value(b"x-farebox-call-id").decode()) for answer in answers]
    assert [len(row["user"]) for row in rows] == [1, 9, 10, 100, 2, 2] * 2
    assert run.heard.bodies == [json.loads(body) for body in bodies * 2]


async def test_requests_that_follow_at_once_are_told_apart(run: Running) -> None:
    """Known heads behind one another, in one piece and cut anywhere, are answered in their order."""
    bodies = [chat(f',"user":"u{i}"') for i in range(4)]
    together = b"".join(message(headers=WITH_KEY, body=body) for body in bodies)
    for cut in (None, 1, len(HEAD), len(FIRST) + 1, len(together) - 1):
        async with wired(run.url) as wire:
            await wire.send(FIRST)
            assert (await wire.answer()).status == 200
            await wire.send(together[:cut])
            if cut is not None:
                await wire.send(together[cut:])
            answers = [await wire.answer() for _ in bodies]

        rows = [await run.row(a.value(b"x-farebox-call-id").decode()) for a in answers]
        assert [row["user"] for row in rows] == ["u0", "u1", "u2", "u3"], cut


OTHERWISE = {
    "another key": FIRST.replace(b"Bearer fb-sk", b"Bearer fb-no"),
    "no key": FIRST.replace(b"authorization", b"x-athorization"),
    "another path": FIRST.replace(b"/chat/completions", b"/chat/completion"),
    "a signed length": FIRST.replace(LENGTH, b"content-length: +%d" % len(GOOD)),
    "a length below zero": FIRST.replace(LENGTH, b"content-length: -1"),
    "no length": FIRST.replace(LENGTH, b"content-length: "),
    "a length that is no number": FIRST.replace(LENGTH, b"content-length: 0x1f"),
    "a length in other digits": FIRST.replace(LENGTH, "content-length: ٣٤".encode()),
    "two lengths in one": FIRST.replace(LENGTH, LENGTH + b", %d" % len(GOOD)),
    "two lengths": FIRST.replace(LENGTH, LENGTH + b"\r\ncontent-length: 1"),
    "a very long length": FIRST.replace(LENGTH, b"content-length: " + b"9" * 30),
    "chunks too": FIRST.replace(LENGTH, LENGTH + b"\r\ntransfer-encoding: chunked"),
    "a line end in the length": FIRST.replace(LENGTH, b"content-length: 1\n2"),
    "a header more": FIRST.replace(LENGTH, LENGTH + b"\r\nx-farebox-tags: nonsense"),
}


@pytest.mark.parametrize("name", OTHERWISE)
async def test_what_differs_is_read_anew(run: Running, name: str) -> None:
    """It is answered as on a connection of its own."""
    alone = await ask(run.url, OTHERWISE[name])
    async with wired(run.url) as wire:
        for _ in range(2):
            await wire.send(FIRST)
            assert (await wire.answer()).status == 200
        await wire.send(OTHERWISE[name])
        after = await wire.answer()

    assert (after.status, json.loads(after.body)) == (alone.status, json.loads(alone.body))


async def test_a_key_that_is_revoked_opens_nothing_any_more(start: Start) -> None:
    """Knowing the head is not knowing the key: it is looked up for each call."""
    async with start() as run:
        made = await run.admin("POST", "/keys", json={"name": "short", "team": "search"})
        secret, key_id = made["secret"], made["id"]
        request = message(headers=[("authorization", f"Bearer {secret}"), *WITH_KEY[1:]], body=GOOD)
        async with wired(run.url) as wire:
            for _ in range(3):
                await wire.send(request)
                assert (await wire.answer()).status == 200
            await run.admin("DELETE", f"/keys/{key_id}")
            await wire.send(request)

            assert (await wire.answer()).status == 401
