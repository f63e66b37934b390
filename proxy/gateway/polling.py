"""Polling: a batch that was submitted here is asked for until it is over, and then metered.

Whether or not its client ever fetches the results. So is an answer that is made in the background, when
the process is gone that followed it. One process at a time asks for a batch, and any can:
it is in the database when, and who asks puts that off first. Open on purpose: what can't be asked or
written now is tried again, at longer intervals, until the batch's hold is lost.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from proxy.core.errors import LedgerError, UpstreamFailed
from proxy.core.objects import Kind, Known
from proxy.gateway.asking import AGAIN, OK, asked, own_request, read_into, unattended
from proxy.gateway.background import Background
from proxy.gateway.batch_results import BatchResults, Origin
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.dialects.answer_document import AnswerDocument
from proxy.gateway.dialects.batch_results import Lines
from proxy.gateway.dialects.batches import APIS, JobApi, State
from proxy.gateway.jobs import Job, Jobs, job_of, origin_of
from proxy.gateway.ports import Objects
from proxy.gateway.upstreams.base import UpstreamRequest

_AT_ONCE: Final = 16
_SLOWER: Final = 1.5
_LONGEST_PAUSE_S: Final = 900.0
_LONGEST_LOOK_S: Final = 5.0
_ANSWER_S: Final = 2.0  # of answers that are made in the background
_LONGEST_ANSWER_S: Final = 60.0
_ANSWERS: Final = (Kind.ANSWER,)
_ALL: Final = (Kind.BATCH, Kind.ANSWER)
_FORGETS_EVERY_S: Final = 3600.0
_LATE_US: Final = 3 * 86_400 * 1_000_000
_LARGEST_STATE: Final = 1024 * 1024  # bytes

_log = structlog.get_logger("farebox.gateway")


class Polling:
    """Asks for batches, for as long as Farebox runs."""

    def __init__(
        self,
        objects: Objects,
        jobs: Jobs,
        results: BatchResults,
        background: Background,
        config: Callable[[], GatewayConfig],
    ) -> None:
        self._objects = objects
        self._jobs = jobs
        self._results = results
        self._background = background
        self._config = config
        self._forgotten_at = 0.0

    async def forever(self) -> None:
        """Look for batches that are due, and ask for them."""
        while True:
            await asyncio.sleep(min(self._config().batches.poll_s, _LONGEST_LOOK_S))
            await self.once()

    async def once(self) -> None:
        """Ask for those that are due now."""
        kinds = _ALL if self._config().batches.poll else _ANSWERS
        now_us = time.time_ns() // 1000
        try:
            if time.monotonic() - self._forgotten_at > _FORGETS_EVERY_S:
                self._forgotten_at = time.monotonic()
                await self._objects.forget_old(now_us)
            due = await self._objects.due(now_us, _AT_ONCE, *kinds)
        except LedgerError as error:
            _log.warning("batches_not_looked_for", reason=str(error))
            return
        await asyncio.gather(*(self._ask(known) for known in due))

    async def _ask(self, known: Known) -> None:
        try:
            try:
                if known.kind is Kind.ANSWER:
                    again = await self._background.advance(known, self._config())
                else:
                    again = await self._advance(known)
            except UpstreamFailed as error:
                again = self._again(known, error.code)
            if again:
                await self._objects.put_off(known, self._next_at_us(known))
        except LedgerError as error:
            # It is put off already, for as long as one process has.
            _log.warning("batch_not_asked_for", batch=known.id, reason=str(error))

    async def _advance(self, known: Known) -> bool:
        """Ask how it goes, and meter it where it is over; whether to ask again."""
        job, config = job_of(known), self._config()
        upstream = config.upstreams.get(known.upstream)
        api = APIS.get(job.api) if job is not None else None
        if job is None or api is None or _is_past(job):
            await self._objects.put_off(known, None)
            return False
        if upstream is None:
            return True  # perhaps it comes back
        status, state = await self._state(upstream, job, api, known.id)
        if state is None:
            return self._again(known, status)
        if not state.over:
            return True
        if target := api.results(job.path, state):
            if state.results:
                await self._jobs.note_results(known, state)
            origin = origin_of(job, config, unattended(), upstream.name)
            status = await self._meter(upstream, job, api, target, origin)
            if status != OK:
                return self._again(known, status)
        await self._jobs.end(known, job)
        return False

    def _again(self, known: Known, why: str | int) -> bool:
        if why not in AGAIN:
            _log.warning("batch_not_asked_for", batch=known.id, reason=why)
        return True

    async def _state(
        self, upstream: Upstream, job: Job, api: JobApi, id_: str
    ) -> tuple[int, State | None]:
        scanner = AnswerDocument()
        request = _request(upstream, job, f"{job.path}/{id_}")
        async with asked(upstream, request) as response:
            await read_into(scanner, response, _LARGEST_STATE)
            state = api.state(scanner.document) if response.status == OK else None
            return response.status, state

    async def _meter(
        self, upstream: Upstream, job: Job, api: JobApi, target: str, origin: Origin
    ) -> int:
        """Settle the answers as they come: a file may be larger than the memory."""
        async with asked(upstream, _request(upstream, job, target)) as response:
            if response.status != OK:
                return response.status
            lines = Lines(api.read)
            while data := await response.read():
                lines.feed(data)
                if lines.results:
                    await self._results.settle(lines.taken(), origin)
            lines.finish()
            await self._results.settle(lines.taken(), origin)
            return OK

    def _next_at_us(self, known: Known) -> int:
        every_s, longest_s = self._config().batches.poll_s, _LONGEST_PAUSE_S
        if known.kind is Kind.ANSWER:
            every_s, longest_s = min(every_s, _ANSWER_S), _LONGEST_ANSWER_S
        pause_s = min(every_s * _SLOWER ** min(known.tries, 30), max(longest_s, every_s))
        return time.time_ns() // 1000 + int(pause_s * 1_000_000)


def _is_past(job: Job) -> bool:
    """Whether it is of no use to ask any more.

    Later than its hold is lost: what its answers cost takes the place of what that was charged.
    """
    return time.time_ns() // 1000 > job.kept.until_us + _LATE_US


def _request(upstream: Upstream, job: Job, target: str) -> UpstreamRequest:
    query = f"?{job.query}" if job.query else ""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in job.headers]
    return own_request(upstream, job.family, target + query, headers)
