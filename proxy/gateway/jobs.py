"""What goes on at providers beyond a call: batches, the files they are made of, where anything is.

A batch is held when it is submitted, noted before its client knows of it, and metered from its results,
whether they are fetched or asked for (``polling.py``). What is noted here says where things are and
whose they were. Open on purpose: where it can't be written or read, the call goes on as if nothing were
known, and the provider answers for the rest.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import structlog
from msgspec import MsgspecError, Struct, json
from msgspec.structs import replace

from proxy.core.call import CallRecord
from proxy.core.errors import LedgerError
from proxy.core.objects import Bounded, Kind, Known
from proxy.core.reservation import Kept
from proxy.gateway.active import ActiveCall
from proxy.gateway.asking import OK, kept_headers
from proxy.gateway.batch_results import BatchResults, Origin, own_id
from proxy.gateway.config import GatewayConfig
from proxy.gateway.dialects.answer_document import document_of
from proxy.gateway.dialects.batch_results import Lines
from proxy.gateway.dialects.batches import State, States, Submission
from proxy.gateway.dialects.upload import Upload, UploadWatch
from proxy.gateway.forward import target_of
from proxy.gateway.inbound import Inbound
from proxy.gateway.job_bound import Bounding
from proxy.gateway.ports import Ledger, Objects
from proxy.gateway.relay import Relay
from proxy.gateway.reserve import next_attempt
from proxy.gateway.router import Plan, Target, check_allowed

_WINDOW_US: Final = 24 * 3_600_000_000  # of a batch, where its provider names none
_LARGE: Final = 256 * 1024  # bytes of a body whose requests take a thread
_FIRST_ERROR: Final = 400
_HAS_DIGIT = re.compile(r"(?=.*\d)(?!v\d)[\w.:-]{3,256}$")
_TRIES: Final = 8
_log = structlog.get_logger("farebox.gateway")


class Job(Struct, frozen=True):
    """A batch that was submitted here: how its provider is asked, and what is held for it. No secret."""

    api: str
    family: str
    path: str  # that it was submitted to, below the upstream's base URL
    query: str
    headers: tuple[tuple[str, str], ...]
    kept: Kept
    call_id: str  # of its submission
    model: str = ""

    @property
    def holds(self) -> tuple[str, ...]:
        """What its answers are charged to: its own hold; its call's, if that had no time to end."""
        return (self.kept.record.id, self.call_id)


def job_of(known: Known) -> Job | None:
    """The batch that was noted, if this version reads what another wrote."""
    try:
        return json.decode(known.data, type=Job)
    except MsgspecError:
        return None


class Jobs:
    """Notes what goes on. ``run`` starts what nobody waits for."""

    def __init__(
        self,
        ledger: Ledger,
        objects: Objects,
        results: BatchResults,
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ledger = ledger
        self._objects = objects
        self._results = results
        self._run = run

    # Before it is held

    async def place(self, call: ActiveCall) -> None:
        """Where the call has to go, and what is held for it, by what is known of what it names."""
        dialect = call.dialect
        if isinstance(dialect, Submission):
            await self._bound(call, dialect)
        elif isinstance(dialect, Upload):
            self._watch_upload(call)
        elif self._is_shared(call) and (call.facts.outside or not call.facts.model):
            for name in call.inbound.path.decode("latin-1").split("/"):
                if _HAS_DIGIT.match(name) and (known := await self._find(name)) is not None:
                    _send_to(call, known.upstream)
                    return

    async def _bound(self, call: ActiveCall, dialect: Submission) -> None:
        api, document = dialect.api, call.facts.document
        call.facts = replace(call.facts, document={})
        job: Bounded | None = None
        if name := api.file(document):
            known = await self._find(name)
            if known is not None:
                _send_to(call, known.upstream)
                job = _bounded(known)
        else:
            bounding = Bounding(call.config, call.plan.targets[0].upstream, call.started_at_us)

            def add() -> None:
                for asked in api.requests(document):
                    bounding.add(asked)

            size = len(call.body) if isinstance(call.body, bytes) else 0
            await (asyncio.to_thread(add) if size > _LARGE else _at_once(add))
            job = bounding.bounded()
        if job is None or not job.requests:
            call.job = Bounded()  # its budgets' policy decides: it stays unbounded
            return
        key = call.principal.key
        for model in job.models:
            check_allowed(model, key.team.name, key.team.models, key.models)
        call.job = job
        call.facts = replace(call.facts, model=job.model, unbounded=job.unbounded)

    def _watch_upload(self, call: ActiveCall) -> None:
        if not isinstance(call.body, AsyncIterator):
            return
        bounding = Bounding(call.config, call.plan.targets[0].upstream, call.started_at_us)
        content_type = call.inbound.text(b"content-type")
        call.upload = UploadWatch(content_type, bounding.line, bounding.bounded)
        call.body = _watched(call.body, call.upload)

    # Before its client knows of it

    @staticmethod
    def concerns(call: ActiveCall) -> bool:
        """Whether something has to be noted before the client has the answer."""
        return bool(call.job or call.upload) or isinstance(call.dialect, States)

    async def note(self, relay: Relay) -> None:
        """Note a batch that the provider took, a file that one can be made of, where its results are."""
        call, scan, upstream = relay.call, relay.scanner.scan, relay.attempt.upstream.name
        id_ = scan.upstream_call_id
        if relay.response.status != OK:
            return
        if isinstance(call.dialect, States):
            # Whoever fetches them next, they are whose the batch is.
            states = call.dialect.read(document_of(relay.scanner))
            found = (self._found(state, upstream) for state in states if state.results)
            await asyncio.gather(*found)
        elif not id_:
            return
        elif isinstance(call.dialect, Submission):
            await self._note(self._job_begun(relay, id_, call.dialect))
        elif call.upload is not None and call.upload.whole:
            data = json.encode(call.upload.bounded()).decode()
            await self._note(Known(id_, upstream, Kind.FILE, call.started_at_us, data))

    def _job_begun(self, relay: Relay, id_: str, dialect: Submission) -> Known:
        call, attempt = relay.call, relay.attempt
        state = dialect.api.state(document_of(relay.scanner))
        until_us = max(state.expires_s * 1_000_000 if state else 0, call.started_at_us + _WINDOW_US)
        until_us += int(call.config.batches.slack_s * 1_000_000)
        tried = replace(
            next_attempt(call), upstream=attempt.upstream.name, status=OK, upstream_call_id=id_
        )
        own = own_id(attempt.upstream.name, (id_,), call.started_at_us)
        record: CallRecord = replace(call.pending(tried), id=own, status=OK)
        call.keeps = Kept(record, call.estimate_nano, until_us)
        target, _, query = target_of(call, attempt.upstream, attempt.patch).partition(b"?")
        job = Job(
            dialect.api.name, dialect.family, target.decode("latin-1"), query.decode("latin-1"),
            kept_headers(call), call.keeps, call.id, call.facts.model,
        )  # fmt: skip
        every_us = int(call.config.batches.poll_s * 1_000_000)
        # With its client's own key it can't be asked for: that is not ours to keep.
        asked_at_us = None if call.secret else call.started_at_us + every_us
        return Known(
            id_, attempt.upstream.name, Kind.BATCH, call.started_at_us,
            json.encode(job).decode(), asked_at_us,
        )  # fmt: skip

    # When the call is over

    def seen(self, call: ActiveCall, relay: Relay) -> None:
        """Note and meter what an answer says of what goes on."""
        scanner, upstream = relay.scanner, relay.attempt.upstream
        if call.metered and call.endpoint != "responses" and not call.facts.outside:
            return
        if isinstance(scanner, Lines):
            if scanner.results:
                whole = not relay.error and not call.given_up and scanner.scan.finished
                self._run(self._take(call, relay, scanner, whole=whole))
        elif (relay.attempt.status or _FIRST_ERROR) >= _FIRST_ERROR:
            return
        elif isinstance(call.dialect, States):
            for state in call.dialect.read(document_of(relay.scanner)):
                if state.over and not state.results:
                    self._run(self._ended(state, upstream.name))
        elif (
            (id_ := scanner.scan.upstream_call_id)
            and call.inbound.method == "POST"
            and self._is_shared(call)
            and not scanner.scan.follow  # noted as what it is; so is this:
            and not (call.upload is not None and call.upload.whole)
        ):
            self._objects.put_soon(Known(id_, upstream.name, Kind.OTHER, call.started_at_us))

    async def _take(self, call: ActiveCall, relay: Relay, lines: Lines, *, whole: bool) -> None:
        """Meter the results that a client fetched."""
        upstream = relay.attempt.upstream
        known = await self._batch_of(call, upstream.name)
        job = job_of(known) if known is not None else None
        if known is None or job is None:
            own = Origin(call.config, call.inbound, upstream, call.principal)
            await self._results.settle(lines.results, own)
            return
        origin = origin_of(job, call.config, call.inbound, upstream.name)
        await self._results.settle(lines.results, origin)
        if whole:
            await self.end(known, job)

    async def _batch_of(self, call: ActiveCall, upstream: str) -> Known | None:
        """The batch whose results were fetched, by its own id or its file's: the last segment but one."""
        known = await self._find(call.inbound.path.decode("latin-1").split("/")[-2])
        if known is not None and known.kind is Kind.RESULTS:
            known = await self._find(known.data)
        if known is None or known.kind is not Kind.BATCH or known.upstream != upstream:
            return None
        return known

    async def _found(self, state: State, upstream: str) -> None:
        """Where a batch's answers are."""
        known = await self._find(state.id)
        if known is not None and known.kind is Kind.BATCH and known.upstream == upstream:
            await self.note_results(known, state)

    async def _ended(self, state: State, upstream: str) -> None:
        """A batch of OpenAI's that has no answers: Anthropic's are not in a file that it could name."""
        known = await self._find(state.id)
        job = job_of(known) if known is not None else None
        if known is None or job is None or known.upstream != upstream:
            return
        if job.api == "openai_batches" and known.next_at_us is not None:
            await self.end(known, job)

    # What polling does likewise

    async def note_results(self, known: Known, state: State) -> None:
        """The file of its answers, for whoever fetches that."""
        if await self._find(state.results) is None:
            found = Known(
                state.results, known.upstream, Kind.RESULTS, known.created_at_us, known.id
            )
            await self._note(found)

    async def end(self, known: Known, job: Job) -> None:
        """All of it is metered: what is left of its hold is given back."""
        try:
            await self._ledger.give_back(job.kept.record.id)
            await self._objects.put_off(known, None)
        except LedgerError as error:  # asked for again later, it comes out the same
            _log.warning("batch_not_ended", batch=known.id, reason=str(error))

    # Notes

    def _is_shared(self, call: ActiveCall) -> bool:
        """Whether there are several upstreams that it could have gone to."""
        return call.dialect.family in call.config.shared and not call.secret

    async def _find(self, id_: str) -> Known | None:
        try:
            return await self._objects.find(id_)
        except LedgerError:
            return None

    async def _note(self, known: Known) -> None:
        try:
            await self._objects.put(known)
        except LedgerError as error:
            _log.warning("object_not_noted", id=known.id, reason=str(error))
            self._run(self._note_later(known))

    async def _note_later(self, known: Known) -> None:
        for number in range(_TRIES):
            await asyncio.sleep(2.0**number / 4)
            try:
                await self._objects.put(known)
            except LedgerError:
                continue
            return


def origin_of(job: Job, config: GatewayConfig, inbound: Inbound, upstream: str) -> Origin:
    """Whose a batch's answers are."""
    record = job.kept.record
    return Origin(
        config, inbound, config.upstreams[upstream], record.principal, record.started_at_us,
        job.model, job.holds,
    )  # fmt: skip


def _send_to(call: ActiveCall, upstream: str) -> None:
    """To the upstream that has it, if it is still there, and the client did not bring its own key."""
    if upstream in call.config.upstreams and not call.secret:
        there = (t.model for t in call.plan.targets if t.upstream == upstream)
        target = Target(upstream, next(there, call.facts.model))
        call.plan = Plan(call.plan.model, (target,))


def _bounded(known: Known) -> Bounded | None:
    try:
        return json.decode(known.data, type=Bounded) if known.kind is Kind.FILE else None
    except MsgspecError:
        return None


async def _at_once(work: Callable[[], None]) -> None:
    work()


async def _watched(body: AsyncIterator[bytes], watch: UploadWatch) -> AsyncIterator[bytes]:
    async for data in body:
        watch.feed(data)
        yield data
