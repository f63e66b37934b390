"""What the data path needs of the rest of the house. ``app.py`` hands it in; nothing here does I/O."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from proxy.core.call import CallFinished, CallRecord, Key
from proxy.core.objects import Kind, Known
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

    async def give_back(self, call_id: str) -> None:
        """End a kept hold: what it was for is over, and metered."""

    async def outlive(self, call_id: str, until_us: int) -> None:
        """Let a call's hold stay whatever becomes of this process, until then: the provider goes on.

        It ends as any hold does, by whoever settles the call.
        """

    async def released(self, timeout_s: float) -> None:
        """Wait until some hold may have been given back, here or by another process, or the time is up."""

    async def call(self, call_id: str) -> CallRecord | None:
        """One settled call, with its attempts."""


class Keys(Protocol):
    """The keys that callers show."""

    async def find(self, secret: str) -> Key | None:
        """The key with this secret, or None: unknown, revoked or expired. Closed on failure: raises LedgerError."""


class Objects(Protocol):
    """What providers keep for clients: batches, files, stored answers.

    Every method that waits raises ``core.errors.LedgerError`` where the database does not answer.
    """

    async def put(self, *known: Known) -> None:
        """Note them, in the place of what was known before. Durable when it returns."""

    def put_soon(self, known: Known) -> None:
        """Note it in a moment; found here at once. For what only says where something is."""

    async def find(self, id_: str) -> Known | None:
        """The newest with this id of the provider's."""

    async def due(self, now_us: int, most: int, *kinds: Kind) -> list[Known]:
        """Those of these kinds whose providers are to be asked, each put off so that nobody else asks meanwhile."""

    async def put_off(self, known: Known, next_at_us: int | None) -> None:
        """When it is asked for again; None: never."""

    async def forget_old(self, now_us: int) -> None:
        """Delete what no provider has any more."""


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
