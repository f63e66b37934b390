"""The path of a call, in the order of the product.

accept → authenticate → plan → cap → reserve → forward → relay → meter → settle → observe
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from proxy.core import estimate
from proxy.core.call import (
    AttemptRecord,
    CallFinished,
    Outcome,
    Principal,
    totals,
)
from proxy.core.errors import (
    LedgerError,
    Refusal,
    UpstreamFailed,
)
from proxy.core.limits import check_input_cap, check_over_cap, output_cap
from proxy.core.reservation import Settlement
from proxy.gateway import answers
from proxy.gateway.active import NOBODY, ActiveCall
from proxy.gateway.authenticate import attribute, authenticate
from proxy.gateway.background import Background
from proxy.gateway.batch_results import BatchResults
from proxy.gateway.config import GatewayConfig
from proxy.gateway.endings import measured_now, note_defect, outcome_of
from proxy.gateway.experience import Experience
from proxy.gateway.follow import Following
from proxy.gateway.form_body import address_of, close_form, read_form, takes_form
from proxy.gateway.forward import Forwarder
from proxy.gateway.inbound import ClientLeft, Send
from proxy.gateway.jobs import Jobs
from proxy.gateway.meter import LEFT, STOPPED, Answered, Meter, estimated_attempt
from proxy.gateway.pacing import Pacing
from proxy.gateway.paths import check_path, is_plain
from proxy.gateway.polling import Polling
from proxy.gateway.ports import Keys, Ledger, Objects, Observer, Tokenizer
from proxy.gateway.relay import Relay
from proxy.gateway.reserve import Reservations, unavailable
from proxy.gateway.router import check_allowed

_log = structlog.get_logger("farebox.gateway")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the pipeline is given by the composition root."""

    ledger: Ledger
    objects: Objects
    keys: Keys
    tokenizer: Tokenizer
    observe: Observer
    # Code and endpoint of a call of nobody known: it has no row.
    refused: Callable[[str, str], None]


class Pipeline:
    """Takes calls from accept to observe."""

    def __init__(self, ports: Ports, config: GatewayConfig) -> None:
        self.config = config  # replaced whole on a reload; a call keeps the one it started with
        self.ports = ports
        self.experience = Experience()
        self.pacing = Pacing()
        self._reservations = Reservations(ports.ledger, ports.tokenizer, self.experience)
        self.meter = Meter(ports.tokenizer, self.experience)
        self._forwarder = Forwarder(ports.ledger, self.meter)
        background = Background(ports.ledger, ports.objects, self.meter, self._settle_surely)
        self._following = Following(ports.tokenizer, background, self._settle_attempt)
        results = BatchResults(ports.ledger, self.meter, self._settle_surely)
        self._jobs = Jobs(ports.ledger, ports.objects, results, self._in_a_task)
        self.polling = Polling(ports.objects, self._jobs, results, background, lambda: self.config)
        self._settling: set[asyncio.Future[None]] = set()
        self._ended: asyncio.Event | None = None  # somebody waits for the last call's end
        self.draining = 0
        self.in_flight = 0

    async def handle(self, call: ActiveCall, send: Send) -> None:
        """One call."""
        self.in_flight += 1
        try:
            await self._admit(call)
        except Refusal as refusal:
            await self._refuse(call, send, refusal)
        except ClientLeft:
            self.settle(call, Outcome.CLIENT_LEFT)
        except Exception:
            # A defect of ours is the edge's to tell; here it must not cost the call its row.
            note_defect(call)
            self.settle(call, Outcome.REFUSED)
            raise
        else:
            await self._serve(call, send)
        finally:
            call.inbound.unwatch()
            close_form(call)
            self.over()

    async def _admit(self, call: ActiveCall) -> None:
        """Everything that is decided before a byte goes upstream."""
        await self.identify(call)
        self.pacing.admit(call)
        if not is_plain(call.way, call.inbound.path):
            check_path(call.inbound.path, call.inbound.method)
        call.inbound.check_head(call.config.limits.max_header_bytes)
        most = call.config.limits.max_body_bytes
        body = call.inbound.whole(most) if call.way.metered else None
        if takes_form(call):
            await read_form(call, body)
        elif body is not None:
            self._accept(call, body)
        else:
            self._accept(call, await call.inbound.read_or_stream(most, whole=call.way.metered))
        facts = call.facts
        call.principal = attribute(call.inbound, call.principal.key, facts.user, facts.metadata)
        self.plan(call)
        if not facts.model or facts.outside:
            await self._jobs.place(call)
        self._cap(call)
        if self._is_long(call):
            await self._check_input(call)
        call.inbound.watch(partial(self._left, call))
        try:
            call.hold = await self._reservations.reserve(call)
        except LedgerError as error:
            raise unavailable() from error
        if call.inbound.gone:  # while it waited for the budget
            raise ClientLeft

    # The steps

    async def identify(self, call: ActiveCall) -> None:
        """Whose call it is. Raises InvalidApiKey, LedgerUnavailable."""
        try:
            key, secret = await authenticate(
                call.inbound, self.ports.keys, call.started_at_us, call.way.dialect.family
            )
        except LedgerError as error:
            raise unavailable() from error
        call.principal = Principal(key)
        if key.forward_upstream is not None:
            call.secret = secret

    def _accept(self, call: ActiveCall, body: bytes | AsyncIterator[bytes]) -> None:
        call.body = body
        if isinstance(body, bytes):
            call.address = address_of(call)
            call.facts = call.way.dialect.inspect(body, call.address)

    def plan(self, call: ActiveCall) -> None:
        """Where it goes. Raises ModelNotAllowed, ModelNotFound."""
        key = call.principal.key
        model = call.facts.model
        if model:
            check_allowed(model, key.team.name, key.team.models, key.models)
        if key.forward_upstream is not None:
            call.plan = call.config.router.direct(model, key.forward_upstream)
        elif model and call.metered and not call.facts.outside:
            call.plan = call.config.router.plan(model, call.dialect.family)
        else:
            call.plan = call.config.router.default(model, call.dialect.family)

    def _cap(self, call: ActiveCall) -> None:
        facts, key, defaults = call.facts, call.principal.key, call.config.defaults
        if not call.way.metered or not facts.makes_text:
            return
        call.cap = cap = output_cap(
            facts.output_limit,
            key,
            model_rule=call.plan.max_output_tokens,
            default=defaults.max_output_tokens,
            model_maximum=estimate.model_max_output(facts.model),
        )
        policy = key.team.on_over_cap or defaults.on_over_cap
        check_over_cap(facts.output_limit, cap, policy, facts.output_limit_name)

    def _is_long(self, call: ActiveCall) -> bool:
        # Tokens are never more than bytes: only a body that could be over is counted.
        limit, body = call.principal.key.team.max_input_tokens, call.body
        if limit is None or not call.way.metered:
            return False
        return isinstance(body, bytes) and len(body) > limit

    async def _check_input(self, call: ActiveCall) -> None:
        team, facts = call.principal.key.team, call.facts
        text = call.dialect.prompt_text(facts)
        tokens = await self.ports.tokenizer.count_prompt(text, facts, facts.model)
        check_input_cap(tokens, team.max_input_tokens or 0, team.name)

    async def _serve(self, call: ActiveCall, send: Send) -> None:
        """Forward and relay, then settle, whatever ends them."""
        relay: Relay | None = None
        failure: UpstreamFailed | None = None
        call.task = asyncio.current_task()
        try:
            call.interruptible = True
            attempt, response = await self._forwarder.forward(call)
            before = self._jobs.note if self._jobs.concerns(call) else None
            if call.facts.background:
                before = self._following.note
            relay = Relay(call, attempt, response, self.meter, self._may_drain, before)
            if call.facts.background and relay.streamed:
                self._following.watch(relay)
            await relay.run()
        except UpstreamFailed as error:
            failure = error
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            if not call.interrupted or call.task is None:
                call.given_up = STOPPED  # and the time that calls have to finish is up
                raise
            call.given_up = LEFT if call.client_left else ""
            call.task.uncancel()
        except Exception:
            # As above: the row is settled as lost, and the edge tells the rest.
            note_defect(call)
            raise
        finally:
            call.interruptible = False
            call.inbound.unwatch()
            self.settle(call, outcome_of(call, failure), relay)
        if failure is not None and not call.answering and not call.client_left:
            await answers.refuse(send, call.dialect, failure, call.id)

    async def _refuse(self, call: ActiveCall, send: Send, refusal: Refusal) -> None:
        call.status = refusal.status
        call.refusal = refusal.code
        if call.principal is not NOBODY:
            self.settle(call, Outcome.REFUSED)
        else:
            self.ports.refused(refusal.code, call.endpoint)
        await answers.refuse(send, call.dialect, refusal, call.id)

    # A client that leaves

    def _left(self, call: ActiveCall) -> None:
        """Drain a stream within its upstream's bounds, else end it.

        What is not streamed is always finished: the provider bills it whole.
        """
        if call.metered and not call.facts.stream:
            return
        if not self._may_drain(call):
            # What has come of the answer by now is taken first: two turns of the loop are enough.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, call.interrupt)

    def _may_drain(self, call: ActiveCall) -> bool:
        """Whether the rest of a stream is read for its usage; from now on, only so long."""
        upstream = call.attempt.upstream if call.attempt else None
        if upstream is None or not call.metered or not upstream.drain:
            return False
        if call.drain_timer is None:
            if self.draining >= upstream.max_draining:
                return False
            self.draining += 1
            loop = asyncio.get_running_loop()
            call.drain_timer = loop.call_later(upstream.drain_s, call.interrupt)
        return True

    # Settle and observe

    def settle(self, call: ActiveCall, outcome: Outcome, relay: Answered | None = None) -> None:
        """End the call where no cancellation of the client's reaches.

        That is at once where its usage is known, and in a task of its own where that has to be counted.
        """
        call.outcome = outcome
        if call.drain_timer is not None:
            call.drain_timer.cancel()
            self.draining -= 1
        if call.principal is NOBODY:
            return
        if isinstance(relay, Relay):
            self._jobs.seen(call, relay)
            if relay.scanner.scan.follow:
                self._following.begin(call, relay)
                return
            if call.facts.background:
                self._following.over(call)
        self._settle_attempt(call, relay)

    def _settle_attempt(self, call: ActiveCall, relay: Answered | None) -> None:
        if call.attempt is not None:
            measured = measured_now(relay) if relay is not None else None
            if measured is None:
                self._in_a_task(self._count_and_settle(call, relay))
                return
            call.attempts.append(measured)
        self._begin_to_settle(*self._end(call))

    def _begin_to_settle(self, settlement: Settlement, event: CallFinished) -> None:
        begun = self.ports.ledger.settle_soon(settlement)
        if begun is None:
            self._in_a_task(self._settle_patiently(settlement, event, None))
            return
        self._settling.add(begun)
        begun.add_done_callback(partial(self._settled_one, settlement, event))

    def _settled_one(
        self, settlement: Settlement, event: CallFinished, begun: "asyncio.Future[None]"
    ) -> None:
        self._settling.discard(begun)
        failed = None if begun.cancelled() else begun.exception()
        if begun.cancelled() or isinstance(failed, Exception):
            error = failed if isinstance(failed, Exception) else None
            self._in_a_task(self._settle_patiently(settlement, event, error))
        else:
            self.ports.observe(event)

    def _in_a_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _count_and_settle(self, call: ActiveCall, relay: Answered | None) -> None:
        call.attempts.append(await self._last_attempt(call, relay))
        await self._settle_patiently(*self._end(call), None)

    async def _settle_surely(self, call: ActiveCall, outcome: Outcome, relay: Answered) -> None:
        """End a call that nobody waits for; it is in the ledger when this returns."""
        call.outcome = outcome
        await self._count_and_settle(call, relay)

    async def _settle_patiently(
        self, settlement: Settlement, event: CallFinished, failed: Exception | None
    ) -> None:
        await self.ports.ledger.settle(settlement, failed)
        self.ports.observe(event)

    def _end(self, call: ActiveCall) -> tuple[Settlement, CallFinished]:
        record = call.record()
        self._reservations.learn(call, record)
        sums, hold = totals(record), call.hold
        if call.first_sent is not None:  # what is left are answers of batches
            self.pacing.used(call, sums.input_tokens + sums.output_tokens)
        traceparent = call.inbound.text(b"traceparent")
        return (
            Settlement(
                record, call.principal, hold, call.facts.model, sums, call.keeps, call.draws_on
            ),
            CallFinished(record, hold.warnings if hold else (), traceparent, sums),
        )

    async def _last_attempt(self, call: ActiveCall, relay: Answered | None) -> AttemptRecord:
        assert call.attempt is not None  # noqa: S101 - asked by the caller
        try:
            if relay is not None:
                return await relay.measured()
            return await self.meter.unanswered(call, call.attempt, call.given_up or LEFT)
        except Exception:  # noqa: BLE001 - an estimate is better than a hold that never ends
            _log.exception("defect", call_id=call.id, endpoint=call.endpoint)
            return estimated_attempt(call, call.attempt)

    def over(self) -> None:
        """A call, or a session, is over but for its settlement."""
        self.in_flight -= 1
        if self._ended is not None and not self.in_flight:
            self._ended.set()

    async def ended(self, timeout_s: float = 5.0) -> None:
        """Wait until no call is under way any more and all are in the ledger, or the time is up."""
        self._ended = asyncio.Event()
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), timeout_s)
        await self._following.stop(timeout_s)
        await self.settled(timeout_s)

    async def settled(self, timeout_s: float = 5.0) -> None:
        """Wait until every call whose answer is out by now is in the ledger, or the time is up."""
        if self._settling:
            await asyncio.wait(set(self._settling), timeout=timeout_s)
            await asyncio.sleep(0)  # what could not be written at once goes on in a task
            if patient := {one for one in self._settling if isinstance(one, asyncio.Task)}:
                await asyncio.wait(patient, timeout=timeout_s)
