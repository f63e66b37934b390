"""Looks at the budgets every few seconds, queues what somebody should be told, and sends the queue.

Every process does so; the queue sees to it that each alert is made once and sent by one of them. A
process that dies between sending and noting it leaves the alert to another one, which sends it
again, with the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from proxy.core.alerts import Watched, due
from proxy.core.errors import LedgerError
from proxy.observe.alerts.channels import Channel, NotTaken, open_channel
from proxy.settings import AlertSettings
from proxy.store.alerts import PASSED, PENDING, AlertQueue, QueuedAlert

_log = structlog.get_logger("farebox.alerts")
_FORGETS_EVERY_US = 86_400 * 1_000_000

Windows = Callable[[], Awaitable[Sequence[Watched]]]


class Alerting:
    """One process's part in it."""

    def __init__(
        self,
        settings: Callable[[], AlertSettings],
        windows: Windows,
        queue: AlertQueue,
        clock_us: Callable[[], int],
    ) -> None:
        """``settings`` are asked each time: a reload may change them."""
        self._settings = settings
        self._windows = windows
        self._queue = queue
        self._clock_us = clock_us
        self._forgot_us = 0

    async def forever(self) -> None:
        """Look and send until cancelled. A database that is away is looked for again."""
        while True:
            settings = self._settings()
            if settings.channels:
                try:
                    await self.look(settings)
                    await self.send(settings)
                except LedgerError as error:
                    # Open: calls go on; alerts follow when the database answers again.
                    _log.warning("alerts_wait_for_the_database", problem=str(error))
            await asyncio.sleep(settings.every_s)

    async def look(self, settings: AlertSettings) -> int:
        """Queue what is due for each channel; how many alerts are new."""
        now_us = self._clock_us()
        found = due(
            await self._windows(), settings.thresholds, forecast=settings.forecast, now_us=now_us
        )
        channels = [open_channel(channel) for channel in settings.channels]
        wanted = [(a, c.name, PENDING) for a in found.alerts for c in channels if c.wants(a)]
        wanted += [(a, c.name, PASSED) for a in found.passed for c in channels if c.wants(a)]
        if now_us - self._forgot_us > _FORGETS_EVERY_US:
            await self._queue.forget_old(now_us)
            self._forgot_us = now_us
        return await self._queue.add(wanted)

    async def send(self, settings: AlertSettings) -> int:
        """Send what is due; how many were taken. One channel's trouble does not hold up another's."""
        channels = {channel.name: open_channel(channel) for channel in settings.channels}
        queued = await self._queue.take(self._clock_us())
        taken = await asyncio.gather(*(self._send(q, channels.get(q.channel)) for q in queued))
        return sum(taken)

    async def _send(self, queued: QueuedAlert, channel: Channel | None) -> bool:
        told = {"channel": queued.channel, "alert": queued.alert.id, "tries": queued.tries}
        try:
            await _deliver(queued, channel)
        except NotTaken as problem:
            again = await self._queue.failed(queued, str(problem), self._clock_us())
            _log.warning("alert_not_sent", problem=str(problem), tried_again=again, **told)
            return False
        await self._queue.sent(queued)
        _log.info("alert_sent", **told)
        return True


async def _deliver(queued: QueuedAlert, channel: Channel | None) -> None:
    if channel is None:
        raise NotTaken("the channel is not in the configuration any more")
    await channel.send(queued.alert)
