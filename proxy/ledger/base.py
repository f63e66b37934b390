"""What all ledgers share: the operations, the views, the options, and the protocol."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from proxy.core.budgets import Budget, Refused, WindowKey, window_bounds
from proxy.core.call import CallRecord, Principal
from proxy.core.errors import LedgerError
from proxy.core.reservation import Hold, HoldRequest, Settlement
from proxy.ledger.cover import Cover
from proxy.ledger.lost import LostPolicy

ANSWER_TIMEOUT_S = 0.5  # from here the database counts as down; a client waits no longer than that
PATIENCE_S = 30.0  # what no client waits for: sweeps, and what a spool has kept


def now_us() -> int:
    """The time, in microseconds since the epoch."""
    return time.time_ns() // 1000


def new_owner() -> str:
    """Names this process among all that share the database."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """How a ledger behaves. ``on_commit`` gets each batch's size and the seconds it took."""

    durability: str = "normal"  # normal: survives kill -9; full: power loss too
    lease_s: float = 60.0
    lost: LostPolicy = LostPolicy.CHARGE_ESTIMATE
    answer_timeout_s: float = ANSWER_TIMEOUT_S
    patience_s: float = PATIENCE_S
    linger_s: float = 0.002  # how long a settlement waits for company before it is written
    queue_limit: int = 10_000  # operations that may wait; one more is refused
    owner: str = field(default_factory=new_owner)
    clock_us: Callable[[], int] = now_us
    on_commit: Callable[[int, float], None] | None = None


# Operations. A batch of them is one transaction. ``answer`` is where the caller waits.


class Reserve(Struct, eq=False):
    """Hold money, if it fits; ``forced`` without asking, for a hold that was taken while the database was down."""

    request: HoldRequest
    answer: asyncio.Future[Any] | None = None
    until: float = 0.0  # the loop's time when it is late
    patient: bool = False  # no call waits for it: it comes from a spool
    forced: bool = False
    owner: str = ""  # "" is this process
    cover: Cover | None = None  # found for each transaction anew
    kept: bool = False  # its caller went on without the answer: it is not to be given back


class Settle(Struct, eq=False):
    """End a call."""

    settlement: Settlement
    answer: asyncio.Future[Any] | None = None
    until: float = 0.0
    patient: bool = False
    cover: Cover | None = None


class Note(Struct, eq=False):
    """Keep a further attempt in the hold."""

    record: CallRecord
    answer: asyncio.Future[Any] | None = None
    until: float = 0.0
    patient: bool = False


class Release(Struct, eq=False):
    """Give a hold back that nobody waits for any more: its call was never forwarded."""

    call_id: str
    answer: asyncio.Future[Any] | None = None
    until: float = 0.0
    patient: bool = True


class Lose(Struct, eq=False):
    """Settle the hold of a dead process, by policy."""

    call_id: str
    answer: asyncio.Future[Any] | None = None
    until: float = 0.0
    patient: bool = True


Operation: TypeAlias = Reserve | Settle | Note | Release | Lose
Answer: TypeAlias = Hold | Refused | Exception | None


def call_id_of(operation: Operation) -> str:
    """The call that an operation is about."""
    if isinstance(operation, Settle):
        return operation.settlement.record.id
    if isinstance(operation, Reserve):
        return operation.request.record.id
    if isinstance(operation, Note):
        return operation.record.id
    return operation.call_id


def is_forced(operation: Operation) -> bool:
    """Whether it is a hold that was taken without the database."""
    return isinstance(operation, Reserve) and operation.forced


@dataclass(slots=True)
class Written:
    """What became of a batch. ``gave_back``: room may have come free in a window."""

    answers: list[Answer]
    gave_back: bool = False
    seconds: float = 0.0

    def add(self, more: "Written") -> None:
        """What became of the next operations."""
        self.answers += more.answers
        self.gave_back |= more.gave_back
        self.seconds += more.seconds


class Unwritable(LedgerError):
    """The database takes other operations, but not this one."""


class DoubtfulError(LedgerError):
    """The connection broke while a transaction was being committed: it may be written, or not."""


# Views


@dataclass(frozen=True, slots=True)
class WindowView:
    """One window of a budget as the ledger has it, in nano-dollars and epoch seconds."""

    subject: str
    starts_at: int
    resets_at: int | None
    spent_nano: int = 0
    held_nano: int = 0
    overdraft_nano: int = 0


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A budget and its windows of now: one for a named subject, one for each that was used for "*"."""

    budget: Budget
    origin: str  # configuration | api
    windows: tuple[WindowView, ...]

    def shown(self, now_us: int) -> tuple[WindowView, ...]:
        """Its windows; where none was used yet, the empty one of that moment."""
        if self.windows:
            return self.windows
        budget = self.budget
        starts_at, resets_at = window_bounds(budget.window, budget.timezone, now_us)
        return (WindowView(budget.subject, starts_at, resets_at),)


@dataclass(slots=True)
class Stats:
    """What a ledger has done since it started."""

    transactions: int = 0
    operations: int = 0
    retries: int = 0  # transactions that the database asked for again
    failures: int = 0  # transactions that it did not take
    swept: int = 0  # holds of dead processes that were settled
    waiting: int = 0  # operations in the queue now
    spool_rows: int = 0  # what waits in the spool for the database to answer
    available: bool = True  # whether the database answered when it was last asked
    outages: int = 0  # how often it did not
    unwritten: int = 0  # settlements that neither the database nor the spool takes at the moment
    attempts_unnoted: int = 0  # sent all the same: a crash just then would have lost their rows
    refusals_dropped: int = 0  # rows of calls that were refused, and cost nothing
    set_aside: int = 0  # settlements that no database takes, kept in a file of their own


class Ledger(Protocol):
    """Holds, settlements and budgets. Satisfies ``gateway.ports.Ledger``, whose words hold here."""

    @property
    def stats(self) -> Stats:
        """What it has done."""

    async def start(self) -> None:
        """Open it, and settle the holds of the dead. Raises LedgerError."""

    async def stop(self) -> None:
        """Write what waits, and close it."""

    async def ping(self) -> None:
        """Raises LedgerError where the database does not answer."""

    async def reserve(self, request: HoldRequest) -> Hold | Refused:
        """Hold the amount on every budget the call falls under, or say which one refuses."""

    async def settle(self, settlement: Settlement) -> None:
        """End the call, exactly once."""

    async def outlive(self, call_id: str, until_us: int) -> None:
        """Let a call's hold end with no process, but at a time of its own."""

    async def give_back(self, call_id: str) -> None:
        """End a kept hold: what it was for is over, and metered."""

    async def attempt(self, hold: Hold, record: CallRecord) -> None:
        """Note a further attempt in the hold before it is sent."""

    async def released(self, timeout_s: float) -> None:
        """Wait until a hold may have been given back, or the time is up."""

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call."""

    async def sync_budgets(self, budgets: Sequence[Budget]) -> None:
        """Make the configured budgets those of the ledger.

        A budget that the admin API changed stays so until its words in the configuration change.
        """

    async def set_budget(self, budget: Budget, actor: str) -> None:
        """Make or change a budget. Its windows stay, as long as it covers the same calls."""

    async def remove_budget(self, budget_id: str, actor: str) -> bool:
        """Remove a budget and its windows; False where there is none.

        Raises InvalidRequest for one that stands in the configuration: it would come back.
        """

    async def budgets(self) -> list[BudgetView]:
        """All budgets with their windows of now."""

    async def sweep(self, now_us: int | None = None) -> int:
        """Settle the holds of processes that died, and say how many."""

    async def verify(self) -> list[str]:
        """Where the totals differ from the rows they are made of: empty where all is well."""


class SqlLedger(Ledger, Protocol):
    """What the spool needs besides, to keep going while the database is away."""

    @property
    def options(self) -> LedgerOptions:
        """How it behaves."""

    async def ask(self, operation: Operation) -> Any:
        """Have one operation done, in the next batch. Raises LedgerError."""

    def post(self, operation: Operation) -> asyncio.Future[Any]:
        """Begin one operation; what can't be written as it stands is not tried again. Raises LedgerError."""

    def forsake(self, operation: Operation) -> None:
        """Who waited for it was cancelled: what it may have held just then is given back."""

    def cover(self, principal: Principal, model: str, at_us: int) -> Cover:
        """The windows of a call, by the budgets as this process last saw them."""

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when this process last saw it, in nano-dollars."""

    def keep(self, operation: Reserve) -> None:
        """Do not give back what the operation may have held: its call goes on all the same."""

    def let_go(self, operation: Reserve) -> None:
        """Give it back after all: its call does not go on."""
