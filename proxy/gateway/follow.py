"""Follow: a provider that goes on after its answer is asked until it says how that ended.

A response in the background is answered at once, and made and billed later. Its hold stays until then,
whether or not its client ever comes back for it. Where it can't be learned how it ended (it was
deleted, the time is up, Farebox stops), the call is charged what such a call likely costs, and says so.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from proxy.core.errors import UpstreamFailed
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.asking import AGAIN, OK, asked, read_into
from proxy.gateway.dialects.base import Scanner, Watch
from proxy.gateway.forward import follow_request
from proxy.gateway.meter import estimated_attempt
from proxy.gateway.ports import Tokenizer
from proxy.gateway.relay import Relay

NOT_FOLLOWED: Final = "not_followed"  # an attempt's error: nobody knows how it ended

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SLOWER = 0.5, 20.0, 1.5
_PATIENCE_S = 24 * 3600.0
_LARGEST_BYTES = 64 * 2**20  # of an answer that is looked at

Settle = Callable[[ActiveCall, Relay | None], None]


class Following:
    """The calls that go on at their providers. ``settle`` ends one that is over."""

    def __init__(self, tokenizer: Tokenizer, settle: Settle) -> None:
        self._tokenizer = tokenizer
        self._settle = settle
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: ActiveCall, relay: Relay) -> None:
        """Follow a call, in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._follow(call, relay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout_s: float) -> None:
        """Settle all of them by what they likely cost: nobody will be there to ask."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    async def _follow(self, call: ActiveCall, relay: Relay) -> None:
        scanner = await self._ended(call, relay.attempt, relay.scanner.scan.follow)
        if scanner is not None:
            relay.scanner = scanner
        else:
            estimated = estimated_attempt(call, relay.attempt)
            call.attempts.append(replace(estimated, error=NOT_FOLLOWED))
            call.attempt = None
        self._settle(call, relay)

    async def _ended(self, call: ActiveCall, attempt: Attempt, path: str) -> Scanner | None:
        """The scanner of the answer that says how it ended; None where none does."""
        until = time.monotonic() + _PATIENCE_S
        pause_s = _FIRST_PAUSE_S
        while not await self._stopped(pause_s) and time.monotonic() < until:
            pause_s = min(pause_s * _SLOWER, _LONGEST_PAUSE_S)
            try:
                status, scanner = await self._ask(call, attempt, path)
            except UpstreamFailed:
                continue
            if status == OK and scanner.scan.finished and not scanner.scan.follow:
                return scanner
            if status != OK and status not in AGAIN:
                return None
        return None

    async def _stopped(self, pause_s: float) -> bool:
        """Wait a while, or until Farebox stops."""
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _ask(self, call: ActiveCall, attempt: Attempt, path: str) -> tuple[int, Scanner]:
        request = follow_request(call, attempt, path)
        async with asked(attempt.upstream, request) as response:
            watch = Watch(
                streamed=False,
                strip_usage=False,
                output_cap=None,
                count=self._tokenizer.counter(call.facts.model),
                status=response.status,
            )
            scanner = call.dialect.scanner(call.facts, watch)
            await read_into(scanner, response, _LARGEST_BYTES)
            return response.status, scanner
