"""What a provider goes on making after its answer is in the database, so that any process settles it.

Before a client knows of a response in the background, it is noted: whose call it is, how its provider is
asked. From then on the call's hold belongs to no process. Whoever follows it (``follow.py``) puts off when
others ask; once it does not, because it stopped or died, another does. A call is settled once, so that
it does not matter who comes first. Open on purpose: what can't be noted is followed by its own process.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog
from msgspec import MsgspecError, Struct, json
from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, Outcome
from proxy.core.errors import LedgerError
from proxy.core.limits import Cap
from proxy.core.objects import Kind, Known
from proxy.core.reservation import Hold
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.asking import AGAIN, OK, asked, kept_headers, own_request, read_into, unattended
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.dialects.base import Patch, RequestFacts, Scanner, Watch
from proxy.gateway.forward import target_of
from proxy.gateway.meter import Answered, Meter, estimated_attempt, failed_attempt
from proxy.gateway.paths import find_way
from proxy.gateway.ports import Ledger, Objects
from proxy.gateway.relay import Relay
from proxy.gateway.router import Target

NOT_FOLLOWED: Final = "not_followed"  # an attempt's error: nobody knows how it ended
PATIENCE_S: Final = 24 * 3600.0
LARGEST_BYTES: Final = 64 * 2**20  # of an answer that is looked at
_SLACK_US: Final = 3_600_000_000  # that a hold stays longer than anybody asks
_LATEST_US: Final = 4 * 86_400 * 1_000_000  # after a call nobody asks any more
_ALONE_US: Final = (
    60_000_000  # so long nobody else asks: longer than any pause, and than most answers
)

_log = structlog.get_logger("farebox.gateway")
Finish = Callable[[ActiveCall, Outcome, Answered], Coroutine[Any, Any, None]]


class Unfinished(Struct, frozen=True):
    """A call whose answer is still being made. No secret, and nothing that anybody wrote."""

    path: str  # that the client called
    target: str  # that tells how it goes, below the upstream's base URL, with its query
    headers: tuple[tuple[str, str], ...]
    record: CallRecord  # its last attempt is the one that is not over
    amount_nano: int
    estimate_nano: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of an attempt, as its row."""

    record: AttemptRecord

    def measured_now(self) -> AttemptRecord | None:
        """The attempt's row."""
        return self.record

    async def measured(self) -> AttemptRecord:
        """The attempt's row."""
        return self.record


class Background:
    """Notes what goes on, and settles what another process had begun. ``finish`` ends a call, durably."""

    def __init__(self, ledger: Ledger, objects: Objects, meter: Meter, finish: Finish) -> None:
        self._ledger = ledger
        self._objects = objects
        self._meter = meter
        self._finish = finish

    async def note(self, call: ActiveCall, relay: Relay) -> Known | None:
        """Note it before its client knows of it; None where that can't be."""
        scan, attempt = relay.scanner.scan, relay.attempt
        if not scan.follow or call.secret:  # a client's own key is not ours to keep
            return None
        target, question, query = target_of(call, attempt.upstream, attempt.patch).partition(b"?")
        pending = failed_attempt(attempt, "")
        unfinished = Unfinished(
            call.inbound.path.decode("latin-1"),
            target.decode("latin-1") + scan.follow + (question + query).decode("latin-1"),
            kept_headers(call),
            call.record((*call.attempts, pending)),
            call.hold.amount_nano if call.hold else 0,
            call.estimate_nano,
        )
        known = Known(
            scan.upstream_call_id, attempt.upstream.name, Kind.ANSWER, call.started_at_us,
            json.encode(unfinished).decode(), _soon_us(),
        )  # fmt: skip
        until_us = call.started_at_us + int(PATIENCE_S * 1_000_000) + _SLACK_US
        try:
            await self._objects.put(known)
            await self._ledger.outlive(call.id, until_us)
        except LedgerError as error:
            _log.warning("object_not_noted", id=known.id, reason=str(error))
            return None
        return known

    async def put_off(self, known: Known, next_at_us: int | None) -> None:
        """When others may ask: None where it is over."""
        try:
            await self._objects.put_off(known, next_at_us)
        except LedgerError as error:  # then they do, and find it settled
            _log.warning("answer_not_put_off", id=known.id, reason=str(error))

    async def keep(self, known: Known) -> Known:
        """It is followed here: put others off, where their time comes near."""
        if known.next_at_us is not None and _soon_us() - known.next_at_us > _ALONE_US // 2:
            known = replace(known, next_at_us=_soon_us())
            await self.put_off(known, known.next_at_us)
        return known

    async def advance(self, known: Known, config: GatewayConfig) -> bool:
        """Ask for what another process had begun, and settle it where it is over; whether to ask again."""
        unfinished = _unfinished(known)
        upstream = config.upstreams.get(known.upstream)
        if unfinished is None or await self._is_past(unfinished.record):
            await self._objects.put_off(known, None)
            return False
        call = _call_of(unfinished, upstream, config)
        if upstream is None or call is None or call.attempt is None:
            return True  # perhaps it comes back
        watch = Watch(
            streamed=False, strip_usage=False, output_cap=None, status=OK,
            count=self._meter.tokenizer.counter(call.facts.model),
        )  # fmt: skip
        scanner = call.dialect.scanner(call.facts, watch)
        status = await self._ask(upstream, call, unfinished, scanner)
        scan = scanner.scan
        late = time.time_ns() // 1000 - call.started_at_us > PATIENCE_S * 1_000_000
        if status == OK and scan.finished and not scan.follow:
            record = await self._measured(call, call.attempt, scanner)
        elif late or (status != OK and status not in AGAIN):
            record = not_followed(call, call.attempt)
        else:
            return True
        await self._finish(call, Outcome.COMPLETED, Ended(record))
        await self._objects.put_off(known, None)
        return False

    async def _ask(
        self, upstream: Upstream, call: ActiveCall, unfinished: Unfinished, scanner: Scanner
    ) -> int:
        headers = [(n.encode(), v.encode("latin-1")) for n, v in unfinished.headers]
        request = own_request(upstream, call.dialect.family, unfinished.target, headers)
        async with asked(upstream, request) as response:
            await read_into(scanner, response, LARGEST_BYTES)
            return response.status

    async def _measured(
        self, call: ActiveCall, attempt: Attempt, scanner: Scanner
    ) -> AttemptRecord:
        if scanner.scan.usage is None and not scanner.scan.error:
            return not_followed(call, attempt)  # the prompt that could be counted is gone
        return await self._meter.measure(call, attempt, scanner)

    async def _is_past(self, begun: CallRecord) -> bool:
        """Whether it is settled, by its own process or another, or it is of no use to ask any more.

        A lost one is not settled: this takes its place.
        """
        if time.time_ns() // 1000 - begun.started_at_us > _LATEST_US:
            return True
        record = await self._ledger.call(begun.id)
        return record is not None and record.outcome is not Outcome.LOST


def not_followed(call: ActiveCall, attempt: Attempt) -> AttemptRecord:
    """The row of an attempt of which nobody knows how it ended."""
    return replace(estimated_attempt(call, attempt), error=NOT_FOLLOWED)


def _soon_us() -> int:
    return time.time_ns() // 1000 + _ALONE_US


def _unfinished(known: Known) -> Unfinished | None:
    """What was noted, if this version reads what another wrote."""
    try:
        return json.decode(known.data, type=Unfinished)
    except MsgspecError:
        return None


def _call_of(
    unfinished: Unfinished, upstream: Upstream | None, config: GatewayConfig
) -> ActiveCall | None:
    """The call, as if it were still under way here."""
    record, path = unfinished.record, unfinished.path.encode("latin-1")
    way = find_way("POST", path, {})
    last = record.last
    if upstream is None or way is None or last is None:
        return None
    call = ActiveCall(config, unattended(), way)
    since_s = (call.started_at_us - record.started_at_us) / 1_000_000
    call.id, call.principal, call.status = record.id, record.principal, record.status
    call.started_at_us, call.started = record.started_at_us, call.started - since_s
    call.facts = RequestFacts(record.model_requested, stream=record.stream)
    call.cap = Cap(record.output_cap, record.output_cap_source)
    call.estimate_nano = unfinished.estimate_nano
    call.hold = Hold(record.id, unfinished.amount_nano, ())
    call.attempts = list(record.attempts[:-1])
    call.attempt = Attempt(
        number=last.number,
        upstream=upstream,
        target=Target(upstream.name, last.model),
        patch=Patch(),
        started_at_us=last.started_at_us,
        started=call.started + (last.started_at_us - record.started_at_us) / 1_000_000,
        status=last.status,
        request_id=last.upstream_call_id,
    )
    return call
