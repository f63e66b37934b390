"""A call's record as text: in the hold of a call under way, and in the spool.

Arrays in the order of the fields, because a hold is written for every call and names would be half
of it. A hold or a spool can outlive an upgrade: fields may only be appended to the dataclasses, with
a default, and what is missing at the end takes its default.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import orjson
from msgspec import Struct

from proxy.core.budgets import WindowKey
from proxy.core.call import (
    AttemptRecord,
    CallRecord,
    CapSource,
    Key,
    Outcome,
    Principal,
    Team,
)
from proxy.core.pricing import ChargeLine
from proxy.core.usage import BUCKETS, EMPTY, Usage, UsageSource


def _names(record: type[Struct]) -> tuple[str, ...]:
    return record.__struct_fields__


_CALL_NAMES = _names(CallRecord)
_ATTEMPT_NAMES = _names(AttemptRecord)
_call_values: Callable[[CallRecord], tuple[Any, ...]] = attrgetter(*_CALL_NAMES)
_attempt_values: Callable[[AttemptRecord], tuple[Any, ...]] = attrgetter(*_ATTEMPT_NAMES)
_counts: Callable[[Usage], tuple[int, ...]] = attrgetter(*BUCKETS)


def _default(value: object) -> object:
    # orjson asks for what it does not write by itself.
    if isinstance(value, AttemptRecord):
        return _attempt_values(value)
    if isinstance(value, Usage):
        return value.nonzero()
    if isinstance(value, ChargeLine):
        return tuple(value)
    raise TypeError


def encode(record: CallRecord) -> str:
    """The record as JSON. Raises TypeError for text that is not Unicode, or a number over 64 bits."""
    return orjson.dumps(_call_values(record), _default, orjson.OPT_PASSTHROUGH_DATACLASS).decode()


def decode(text: str | bytes) -> CallRecord:
    """The record that ``encode`` wrote. Raises ValueError or TypeError for anything else."""
    return record_of(orjson.loads(text))


def record_of(values: list[Any]) -> CallRecord:
    """The record from its JSON array."""
    call = dict(zip(_CALL_NAMES, values, strict=False))
    call["tags"] = tuple((k, v) for k, v in call["tags"])
    call["outcome"] = Outcome(call["outcome"])
    call["output_cap_source"] = CapSource(call["output_cap_source"])
    call["attempts"] = tuple(_attempt(a) for a in call["attempts"])
    return CallRecord(**call)


def _attempt(values: list[Any]) -> AttemptRecord:
    attempt = dict(zip(_ATTEMPT_NAMES, values, strict=False))
    attempt["usage"] = Usage(**attempt["usage"]) if attempt["usage"] else EMPTY
    attempt["usage_source"] = UsageSource(attempt["usage_source"])
    attempt["charge"] = tuple(ChargeLine(*line) for line in attempt["charge"])
    attempt["flags"] = tuple(attempt["flags"])
    return AttemptRecord(**attempt)


def principal_of(record: CallRecord) -> Principal:
    """Who called, as far as budgets ask."""
    team = Team(record.team, record.organisation)
    return Principal(
        Key(record.key_id, record.key, team),
        record.user,
        record.workflow,
        record.run,
        record.tags,
    )


# Windows of a hold


def encode_windows(keys: tuple[WindowKey, ...]) -> str:
    """The windows that a hold counts on, as JSON."""
    return orjson.dumps([(k.budget_id, k.subject, k.starts_at) for k in keys]).decode()


def decode_windows(text: str) -> tuple[WindowKey, ...]:
    """The windows that ``encode_windows`` wrote."""
    return tuple(WindowKey(*key) for key in orjson.loads(text))
