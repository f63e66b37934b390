"""The simulator's own invoice: one line for each request that it answered, priced by its own list."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import orjson


class Outcome(StrEnum):
    """How a request ended, as the provider saw it."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    DIED = "died"  # the simulator was asked to die, or had to stop
    ERROR = "error"  # answered with an error


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One request. ``prompt_tokens`` holds the cached ones, ``completion_tokens`` the reasoning ones."""

    request_id: str  # the x-request-id of the answer
    completion_id: str | None  # the id in the answer
    arrived: float  # seconds since 1970
    endpoint: str
    status: int  # 0: no answer was begun
    outcome: Outcome
    model_requested: str | None = None
    model: str | None = None  # the one that served, and is priced
    tier: str | None = None
    stream: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0  # nano-dollars
    client_left: bool = False
    user: str | None = None  # the request's `user` or `safety_identifier`


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request is billed for."""

    completion_id: str | None = None
    model: str | None = None
    tier: str | None = None
    stream: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0


NOTHING = Charge()


class Invoice:
    """The lines in the order in which the requests ended; each has a number, which is never used again.

    With a file, each line is also appended there as JSON and flushed, so that it outlives what it bills.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._out: IO[bytes] | None = None
        self._lines: list[InvoiceLine] = []
        self._first = 1
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, line: InvoiceLine) -> None:
        """Append a line."""
        self._lines.append(line)
        if self._file is not None:
            if self._out is None:
                self._out = self._file.open("ab", buffering=0)
            number = self._first + len(self._lines) - 1
            self._out.write(orjson.dumps(_numbered(number, line), option=orjson.OPT_APPEND_NEWLINE))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def until(self, count: int) -> Sequence[InvoiceLine]:
        """All lines, once there are so many since the last ``clear()``."""
        while len(self._lines) < count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return self._lines

    @property
    def lines(self) -> Sequence[InvoiceLine]:
        """All lines since the last ``clear()``."""
        return self._lines

    @property
    def total_nano(self) -> int:
        """What they cost together, in nano-dollars."""
        return sum(line.cost_nano for line in self._lines)

    def clear(self) -> None:
        """Forget all lines; what is in the file stays there."""
        self._first += len(self._lines)
        self._lines.clear()

    def page(self, since: int, limit: int) -> dict[str, object]:
        """Lines numbered after ``since``, with what to ask for next, and the total over all pages."""
        start = max(since + 1 - self._first, 0)
        items = [
            _numbered(self._first + start + offset, line)
            for offset, line in enumerate(self._lines[start : start + limit])
        ]
        end = start + len(items)
        return {
            "items": items,
            "next_since": self._first + end - 1 if end < len(self._lines) else None,
            "count": len(self._lines),
            "total_nano": self.total_nano,
        }

    def open(self, request_id: str, arrived: float, endpoint: str) -> "Ticket":
        """Begin the line of a request."""
        return Ticket(self, request_id, arrived, endpoint)

    def close(self) -> None:
        """Close the file; a further line opens it again."""
        if self._out is not None:
            self._out.close()
            self._out = None


class Ticket:
    """The line of a request that is under way. It is written once: a second writing changes nothing."""

    def __init__(self, invoice: Invoice, request_id: str, arrived: float, endpoint: str) -> None:
        self._invoice = invoice
        self._written = False
        self.request_id = request_id
        self.arrived = arrived
        self.endpoint = endpoint
        self.model_requested: str | None = None
        self.user: str | None = None

    def write(self, status: int, outcome: Outcome, charge: Charge = NOTHING) -> None:
        """Write the line."""
        if self._written:
            return
        self._written = True
        self._invoice.add(
            InvoiceLine(
                request_id=self.request_id,
                completion_id=charge.completion_id,
                arrived=self.arrived,
                endpoint=self.endpoint,
                status=status,
                outcome=outcome,
                model_requested=self.model_requested,
                model=charge.model,
                tier=charge.tier,
                stream=charge.stream,
                prompt_tokens=charge.prompt_tokens,
                cached_tokens=charge.cached_tokens,
                completion_tokens=charge.completion_tokens,
                reasoning_tokens=charge.reasoning_tokens,
                cost_nano=charge.cost_nano,
                client_left=outcome is Outcome.CLIENT_LEFT,
                user=self.user,
            )
        )


def _numbered(number: int, line: InvoiceLine) -> dict[str, object]:
    return {"number": number} | {name: getattr(line, name) for name in InvoiceLine.__slots__}
