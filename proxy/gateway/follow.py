"""Follow: a provider that goes on after its answer is asked until it says how that ended.

A response in the background is answered at once, and made and billed later. Its hold stays until then,
whether or not its client ever comes back for it, and whichever process is there (``background.py``).
Where it can't be learned how it ended (it was deleted, the time is up, Farebox stops and could not note
it), the call is charged what such a call likely costs, and says so.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from proxy.core.errors import UpstreamFailed
from proxy.core.objects import Known
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.asking import AGAIN, OK, asked, read_into
from proxy.gateway.background import LARGEST_BYTES, PATIENCE_S, Background, not_followed
from proxy.gateway.dialects.base import Scanner, Watch
from proxy.gateway.forward import follow_request
from proxy.gateway.ports import Tokenizer
from proxy.gateway.relay import Relay

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SLOWER = 0.5, 20.0, 1.5
_LOOK_S: Final = 0.2  # how often a stream is looked at until it says what it is a stream of

Settle = Callable[[ActiveCall, Relay | None], None]


class Following:
    """The calls that go on at their providers. ``settle`` ends one that is over."""

    def __init__(self, tokenizer: Tokenizer, background: Background, settle: Settle) -> None:
        self._tokenizer = tokenizer
        self._background = background
        self._settle = settle
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._noted: dict[str, Known] = {}  # by call

    async def note(self, relay: Relay) -> None:
        """Note a call before its client knows that it goes on."""
        known = await self._background.note(relay.call, relay)
        if known is not None:
            self._noted[relay.call.id] = known

    def watch(self, relay: Relay) -> None:
        """Note it as soon as its stream says what it is."""
        self._in_a_task(self._watch(relay))

    def begin(self, call: ActiveCall, relay: Relay) -> None:
        """Follow a call, in a task of its own."""
        self._in_a_task(self._follow(call, relay))

    def over(self, call: ActiveCall) -> None:
        """It ended in its own answer."""
        if (known := self._noted.pop(call.id, None)) is not None:
            self._in_a_task(self._background.put_off(known, None))

    async def stop(self, timeout_s: float) -> None:
        """Leave them to others; settle those by what they likely cost that nobody else knows of."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    def _in_a_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, relay: Relay) -> None:
        call, inbound = relay.call, relay.call.inbound
        while not (inbound.finished or inbound.gone or call.id in self._noted):
            if relay.scanner.scan.follow:
                await self.note(relay)
            elif await self._stopped(_LOOK_S):
                break
        if inbound.finished and not relay.scanner.scan.follow:  # it was, while that was written
            self.over(call)

    async def _follow(self, call: ActiveCall, relay: Relay) -> None:
        if call.id not in self._noted:
            await self.note(relay)  # a stream that broke at once
        scanner = await self._ended(call, relay.attempt, relay.scanner.scan.follow)
        known = self._noted.pop(call.id, None)
        if scanner is not None:
            relay.scanner = scanner
        elif self._stopping.is_set() and known is not None:
            await self._background.put_off(known, time.time_ns() // 1000)
            return
        else:
            call.attempts.append(not_followed(call, relay.attempt))
            call.attempt = None
        self._settle(call, relay)
        if known is not None:
            await self._background.put_off(known, None)

    async def _ended(self, call: ActiveCall, attempt: Attempt, path: str) -> Scanner | None:
        """The scanner of the answer that says how it ended; None where none does."""
        until = time.monotonic() + PATIENCE_S
        pause_s = _FIRST_PAUSE_S
        while not await self._stopped(pause_s) and time.monotonic() < until:
            pause_s = min(pause_s * _SLOWER, _LONGEST_PAUSE_S)
            if call.id in self._noted:
                self._noted[call.id] = await self._background.keep(self._noted[call.id])
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
            await read_into(scanner, response, LARGEST_BYTES)
            return response.status, scanner
