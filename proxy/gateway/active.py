"""A call while it is under way: the one mutable object of the data path."""

import asyncio
import time
from collections.abc import AsyncIterator

from msgspec import Struct

from proxy.core.call import (
    AttemptRecord,
    CallRecord,
    CapSource,
    Key,
    Outcome,
    Principal,
    Team,
    new_call_id,
)
from proxy.core.limits import Cap
from proxy.core.objects import Bounded
from proxy.core.pricing import Rates
from proxy.core.reservation import Hold, Kept
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.dialects.base import NOWHERE, Address, Dialect, Patch, RequestFacts
from proxy.gateway.dialects.form import Form
from proxy.gateway.dialects.upload import UploadWatch
from proxy.gateway.inbound import Inbound
from proxy.gateway.paths import Way
from proxy.gateway.router import Plan, Target

# Until a step has set them:
NOBODY = Principal(Key("", "", Team("")))
NO_FACTS = RequestFacts(model="")
NO_PLAN = Plan("", ())
NO_CAP = Cap(None, CapSource.NONE)


class Attempt(Struct):
    """One request to an upstream, from its send to the end of its answer."""

    number: int
    upstream: Upstream
    target: Target
    patch: Patch
    started_at_us: int
    started: float  # time.perf_counter()
    first_byte: float | None = None
    status: int | None = None
    request_id: str = ""
    served_model: str = ""  # as the head of the answer names it
    spilled: bool = False  # answered by what is billed by the token, though capacity was paid for


class ActiveCall(Struct):
    """What is known of a call so far. Its row is made from it at any moment by ``record``."""

    config: GatewayConfig  # as it was when the call began
    inbound: Inbound
    way: Way
    principal: Principal = NOBODY
    secret: str = ""  # only where the client's own provider key is forwarded
    facts: RequestFacts = NO_FACTS
    address: Address = NOWHERE
    body: bytes | AsyncIterator[bytes] | Form = b""
    plan: Plan = NO_PLAN
    cap: Cap = NO_CAP
    hold: Hold | None = None
    paid_output: int | None = (
        None  # tokens out that the hold pays for, where no cap keeps within it
    )
    amount_nano: int = 0
    estimate_nano: int = 0
    plain: Rates | None = None  # of what it was reserved for
    job: Bounded | None = None  # where it submits a batch
    upload: UploadWatch | None = None  # where it sends a file that may become one
    keeps: Kept | None = None  # what goes on when it is over
    draws_on: tuple[str, ...] = ()  # the holds that it is charged to
    attempts: list[AttemptRecord] = []  # those that are over
    attempt: Attempt | None = None  # the one under way
    status: int = 0
    outcome: Outcome = Outcome.COMPLETED
    refusal: str = ""
    first_sent: float | None = None  # when the first attempt was sent
    first_byte: float | None = None
    answering: bool = False  # the head of the answer went to the client
    id: str = ""
    started_at_us: int = 0
    started: float = 0.0
    # The client may leave while we wait for an upstream: who waits, and whether that may be cut short.
    task: "asyncio.Task[None] | None" = None
    interruptible: bool = False
    interrupted: bool = False
    given_up: str = ""  # why the rest of the answer was not waited for, if so
    drain_timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        now_ns = time.time_ns()
        self.id = new_call_id(now_ns)
        self.started_at_us = now_ns // 1000
        self.started = time.perf_counter()

    @property
    def dialect(self) -> Dialect:
        """The wire format that the client speaks."""
        return self.way.dialect

    @property
    def endpoint(self) -> str:
        """What was called, as a bounded label."""
        return self.way.endpoint

    @property
    def metered(self) -> bool:
        """Whether the call is counted, capped and held against budgets."""
        return self.way.metered

    @property
    def repeatable(self) -> bool:
        """Whether the body can be sent again."""
        return isinstance(self.body, bytes | Form)

    @property
    def client_left(self) -> bool:
        """Whether the client closed its connection before it had its answer."""
        return self.inbound.gone

    def interrupt(self) -> None:
        """End the wait for an upstream, if that is what the call does at the moment."""
        if self.interruptible and not self.interrupted and self.task is not None:
            self.interrupted = True
            self.task.cancel()

    def record(self, attempts: tuple[AttemptRecord, ...] | None = None) -> CallRecord:
        """The call's row as of now."""
        started, cap, hold = self.started, self.cap, self.hold
        return CallRecord(
            self.id,
            self.started_at_us,
            *_who(self.principal),
            self.endpoint,
            self.facts.model,
            self.facts.stream,
            self.status,
            self.outcome,
            cap.tokens,
            cap.source,
            int((time.perf_counter() - started) * 1_000_000),
            self._since_start(self.first_byte),
            self._since_start(self.first_sent) or 0,
            self.refusal,
            hold.amount_nano if hold else 0,
            tuple(self.attempts) if attempts is None else attempts,
        )

    def pending(self, attempt: AttemptRecord) -> CallRecord:
        """The row before anything is sent: what is known of the call if this process dies."""
        return CallRecord(
            self.id,
            self.started_at_us,
            *_who(self.principal),
            self.endpoint,
            self.facts.model,
            self.facts.stream,
            0,
            Outcome.COMPLETED,
            self.cap.tokens,
            self.cap.source,
            attempts=(attempt,),
        )

    def _since_start(self, moment: float | None) -> int | None:
        return None if moment is None else _micros(moment - self.started)


_Who = tuple[str, str, str, str, str, str, str, tuple[tuple[str, str], ...]]


def _who(principal: Principal) -> _Who:
    """Team to tags, as they stand in a row."""
    key = principal.key
    team = key.team
    return (
        team.name,
        team.organisation,
        key.id,
        key.name,
        principal.user,
        principal.workflow,
        principal.run,
        principal.tags,
    )


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
