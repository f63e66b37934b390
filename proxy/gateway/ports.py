"""What the data path needs of the rest of the house. ``app.py`` hands it in; nothing here does I/O."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from proxy.core.call import CallFinished, CallRecord, Key
from proxy.core.reservation import Hold, HoldRequest, Refused, Settlement


class Ledger(Protocol):
    """Holds and settlements. Each answer means: durable.

    Every method raises ``core.errors.LedgerError`` where the database does not answer.
    """

    async def reserve(self, request: HoldRequest) -> Hold | Refused:
        """Hold the amount on every budget the call falls under, or say which one refuses."""

    def settle_soon(self, settlement: Settlement) -> "asyncio.Future[None] | None":
        """Begin to end the call; None where that takes patience. Then, and where it fails: ``settle``."""

    async def settle(self, settlement: Settlement, failed: Exception | None = None) -> None:
        """End the call, exactly once: a second settlement of the same call changes nothing.

        ``failed`` is what came of ``settle_soon``.
        """

    async def attempt(self, hold: Hold, record: CallRecord) -> None:
        """Note a further attempt in the hold before it is sent, so that a crash does not lose it."""

    async def released(self, timeout_s: float) -> None:
        """Wait until some hold may have been given back, here or by another process, or the time is up."""

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call, with its attempts."""


class Keys(Protocol):
    """The keys that callers show."""

    async def find(self, secret: str) -> Key | None:
        """The key with this secret, or None: unknown, revoked or expired. Closed on failure: raises LedgerError."""


class Tokenizer(Protocol):
    """Counts tokens with the model's own vocabulary (o200k for a model that nobody knows)."""

    def ready(self, model: str) -> bool:
        """Whether the model's vocabulary is in memory. Where it is not, it will be soon, if there is one."""

    def counter(self, model: str) -> Callable[[str], int]:
        """Counts short texts at once, on the event loop. Never raises."""

    async def count(self, text: str, model: str) -> int:
        """How many tokens the text has; off the event loop where it is long."""

    async def count_prompt(self, text: str, facts: object, model: str) -> int:
        """How many input tokens a provider makes of a request with this text (see core.tokens)."""


Observer = Callable[[CallFinished], None]
