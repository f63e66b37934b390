"""A call, its attempts, who made it, and the event that tells the rest of the house how it ended."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from proxy.core.pricing import ChargeLine
from proxy.core.usage import EMPTY, Usage, UsagePart, UsageSource


class Outcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    UPSTREAM_FAILED = "upstream_failed"
    REFUSED = "refused"
    LOST = "lost"  # the process that held it died, or was stopped


class CapSource(StrEnum):
    """Who set the output cap."""

    CLIENT = "client"
    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    DEFAULT = "default"
    BUDGET = "budget"
    NONE = "none"


def new_call_id(now_ns: int | None = None) -> str:
    """``fb-`` + 12 hex digits of milliseconds + 20 random ones: unique, and in the order of time."""
    millis = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    return f"fb-{millis:012x}{os.urandom(10).hex()}"


@dataclass(frozen=True, slots=True)
class Team:
    """A team's policy. ``None`` means: no limit of its own."""

    name: str
    organisation: str = ""
    models: tuple[str, ...] = ("*",)  # globs over public model names
    max_output_tokens: int | None = None
    max_input_tokens: int | None = None
    on_over_cap: str | None = None  # clamp | reject; None: the default's


@dataclass(frozen=True, slots=True)
class Key:
    """A key that Farebox issued, or a provider's key that it was told to accept. Never the secret."""

    id: str
    name: str
    team: Team
    models: tuple[str, ...] = ("*",)
    max_output_tokens: int | None = None
    expires_at_us: int | None = None
    forward_upstream: str | None = None  # accept_provider_keys: goes there with its own credential


class Principal(Struct, frozen=True):
    """Who calls, and for what: taken from the key and from the attribution headers or body fields."""

    key: Key
    user: str = ""
    workflow: str = ""
    run: str = ""
    tags: tuple[tuple[str, str], ...] = ()


class AttemptRecord(Struct, frozen=True, array_like=True):
    """One request that was sent upstream: a row of ``attempts``."""

    number: int  # 1, 2, … in the order they were sent
    upstream: str
    model: str  # as asked of the upstream
    started_at_us: int
    duration_us: int
    first_byte_us: int | None = None  # after started_at
    status: int | None = None  # None: no status line came
    model_served: str = ""
    upstream_call_id: str = ""
    usage: Usage = EMPTY
    usage_source: UsageSource = UsageSource.NONE
    usage_raw: str = ""  # the provider's own usage object, as JSON
    cost_nano: int = 0
    charge: tuple[ChargeLine, ...] = ()
    price_source: str = ""  # "" unmetered, "unpriced", else the layer of the price book
    price_version: str = ""
    error: str = ""  # a short word: connect, timeout, status_500, in_stream, truncated …
    flags: tuple[str, ...] = ()  # usage_inconsistent, cut_at_cap, …
    stated_nano: int | None = None  # what the provider stated that it cost, whatever it was charged
    list_nano: int | None = None  # and what it costs at the list price, where there is one
    parts: tuple[UsagePart, ...] = ()  # of ``usage``, where it is billed at several models' prices


class CallRecord(Struct, frozen=True, array_like=True):
    """One call of a client: a row of ``calls``. Counts and cost are the sums over its attempts."""

    id: str
    started_at_us: int
    team: str
    organisation: str
    key_id: str
    key: str
    user: str
    workflow: str
    run: str
    tags: tuple[tuple[str, str], ...]
    endpoint: str  # chat.completions, models, … or the path for what is passed through
    model_requested: str
    stream: bool
    status: int  # what the client was told
    outcome: Outcome
    output_cap: int | None = None
    output_cap_source: CapSource = CapSource.NONE
    duration_us: int = 0
    first_byte_us: int | None = None
    overhead_us: int = 0  # time in Farebox before the first attempt was sent
    refusal: str = ""  # the error code, where the outcome is refused
    held_nano: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    adjusted_nano: int = 0  # what adjusting entries added since; never part of what was charged

    @property
    def principal(self) -> Principal:
        """Who called, as far as budgets ask."""
        key = Key(self.key_id, self.key, Team(self.team, self.organisation))
        return Principal(key, self.user, self.workflow, self.run, self.tags)

    @property
    def last(self) -> AttemptRecord | None:
        """The attempt whose answer the client got."""
        return self.attempts[-1] if self.attempts else None

    @property
    def cost_nano(self) -> int:
        """What the call cost, all its attempts together."""
        return sum(a.cost_nano for a in self.attempts)

    @property
    def stated_nano(self) -> int | None:
        """What providers stated for its attempts; None where none did."""
        return _sum(a.stated_nano for a in self.attempts)

    @property
    def list_nano(self) -> int | None:
        """What its attempts cost at list prices; None where none has one."""
        return _sum(a.list_nano for a in self.attempts)

    @property
    def usage(self) -> Usage:
        """The counts of all attempts together."""
        if len(self.attempts) == 1:
            return self.attempts[0].usage
        return sum((a.usage for a in self.attempts), EMPTY)


def _sum(amounts: Iterable[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


class Totals(NamedTuple):
    """A call's counts as they are shown: sums over its attempts, ``input`` and ``output`` whole."""

    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nano: int
    stated_nano: int | None = None
    list_nano: int | None = None


def counts_of(attempt: AttemptRecord) -> Totals:
    """An attempt's counts as they are shown."""
    usage = attempt.usage
    if usage is EMPTY:
        return Totals(0, 0, 0, 0, 0, attempt.cost_nano, attempt.stated_nano, attempt.list_nano)
    return Totals(
        usage.input_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning,
        attempt.cost_nano,
        attempt.stated_nano,
        attempt.list_nano,
    )


def totals(record: CallRecord) -> Totals:
    """Sum a record up."""
    attempts = record.attempts
    if len(attempts) == 1:
        return counts_of(attempts[0])
    counts = [counts_of(attempt)[:6] for attempt in attempts]
    sums = map(sum, zip((0, 0, 0, 0, 0, 0), *counts, strict=True))
    return Totals(*sums)._replace(stated_nano=record.stated_nano, list_nano=record.list_nano)


class CallFinished(Struct, frozen=True):
    """The one event of a call; metrics, logs, traces and alerts subscribe to it."""

    record: CallRecord
    warnings: tuple[str, ...] = ()  # ids of warn budgets that are over their limit
    traceparent: str = ""  # the client's W3C trace context, as it wrote it
    sums: Totals | None = None  # the record's, where they are known already
