"""What a call and its connection were made of is freed when they end, without the collector's help.

The collector looks at old objects next to never, for what lives long is not garbage. What hangs in a
circle would stay for as long as the process runs: some kilobytes for each connection.
"""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.requests import GOOD, WITH_KEY, chat
from tests.e2e.running import Running, eventually
from tests.e2e.wire import Wire, message, wired

OURS = ("proxy.app.", "proxy.gateway.", "uvicorn.")
TIMES = 5
STREAM = chat(',"stream":true', model='"sim-event-ms-4+output-tokens-30"')
REFUSED = chat(',"n":"many"')


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected while a test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _whole(wire: Wire) -> None:
    await wire.send(message(headers=WITH_KEY, body=GOOD))
    assert (await wire.answer()).status == 200


async def _stream(wire: Wire) -> None:
    await wire.send(message(headers=WITH_KEY, body=STREAM))
    assert (await wire.answer()).status == 200


async def _refused(wire: Wire) -> None:
    await wire.send(message(headers=WITH_KEY, body=REFUSED))
    assert (await wire.answer()).status == 400


async def _left(wire: Wire) -> None:
    await wire.send(message(headers=WITH_KEY, body=STREAM))


async def _broken(wire: Wire) -> None:
    await wire.send(b"NONSENSE\r\n\r\n")
    assert (await wire.answer()).status == 400


async def _half(wire: Wire) -> None:
    await wire.send(message(headers=WITH_KEY, body=GOOD)[:-5])


async def _socket(wire: Wire) -> None:
    await wire.send(
        b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: farebox\r\nupgrade: websocket\r\n"
        b"connection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await wire.answer("GET")).status == 401


WAYS = {
    "whole": _whole,
    "stream": _stream,
    "refused": _refused,
    "left": _left,
    "broken": _broken,
    "half": _half,
    "socket": _socket,
}


def _alive() -> Counter[str]:
    kinds = (type(one) for one in gc.get_objects())
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    return Counter(name for name in names if name.startswith(OURS))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("uncollected")
async def test_nothing_stays_of_a_connection(run: Running, way: str) -> None:
    """However a connection's last call ends, both are gone afterwards."""

    async def visit() -> None:
        async with wired(run.url) as wire:
            await WAYS[way](wire)
        await run.is_idle()

    await visit()  # what is made once
    before = _alive()
    for _ in range(TIMES):
        await visit()

    async def gone() -> bool:
        more = _alive() - before
        return max(more.values(), default=0) < TIMES  # but for what comes back now and then

    await eventually(gone)
