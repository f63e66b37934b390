"""The admin API and the web page are made after calls are taken, and once."""

import asyncio
import threading

import pytest

from proxy.app.later import Asgi, Later
from proxy.gateway.inbound import Message, Receive, Scope, Send


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    await send({"type": "page", "path": scope["path"]})


async def nothing() -> Message:
    return {}


class Making:
    """Makes the page when it is let, in whatever thread it is asked to."""

    def __init__(self) -> None:
        self.times = 0
        self.go_on = threading.Event()

    def __call__(self) -> Asgi:
        """The page."""
        self.times += 1
        assert self.go_on.wait(10)
        return page


async def test_it_is_made_once_and_who_asks_meanwhile_waits_for_it() -> None:
    making = Making()
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["path"])

    later = Later(making)
    asking = [asyncio.create_task(later({"path": f"/{n}"}, nothing, send)) for n in range(3)]
    asking[0].cancel()  # one who gives up takes nothing away from the others
    await asyncio.sleep(0)
    making.go_on.set()
    await asyncio.gather(*asking, return_exceptions=True)
    await later({"path": "/more"}, nothing, send)

    assert (sent, making.times) == (["/1", "/2", "/more"], 1)


async def test_what_making_it_raised_is_raised_by_each_request() -> None:
    def broken() -> Asgi:
        raise ZeroDivisionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    later = Later(broken)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await later({"path": "/"}, nothing, send)
