"""Operations as entries of a spool, and back."""

from typing import Any

import orjson

from proxy.core.call import CallRecord
from proxy.core.reservation import HoldRequest, Settlement
from proxy.ledger.base import Note, Operation, Reserve, Settle
from proxy.ledger.codec import encode, principal_of, record_of

_HOLD, _NOTE, _SETTLE = "hold", "note", "settle"


def hold_entry(request: HoldRequest, amount_nano: int, owner: str) -> bytes:
    """A hold that was taken while the database was away."""
    fragment = orjson.Fragment(encode(request.record))
    return orjson.dumps(
        [_HOLD, fragment, request.model, amount_nano, request.estimate_nano, request.exempt, owner]
    )


def note_entry(record: CallRecord) -> bytes:
    """A further attempt."""
    return orjson.dumps([_NOTE, orjson.Fragment(encode(record))])


def settle_entry(settlement: Settlement) -> bytes:
    """The end of a call."""
    return orjson.dumps([_SETTLE, orjson.Fragment(encode(settlement.record)), settlement.model])


def operation_of(payload: bytes) -> Operation:
    """What the entry asks the ledger to do. Raises ValueError, KeyError or TypeError for nonsense."""
    kind, values, *rest = orjson.loads(payload)
    record = record_of(values)
    if kind == _SETTLE:
        (model,) = rest
        return Settle(Settlement(record, principal_of(record), None, model))
    if kind == _NOTE:
        return Note(record)
    if kind == _HOLD:
        return _hold(record, rest)
    raise ValueError(f"an entry of the kind {kind!r}")


def _hold(record: CallRecord, rest: list[Any]) -> Reserve:
    model, amount, estimate, exempt, owner = rest
    request = HoldRequest(
        principal_of(record), record, amount, estimate_nano=estimate, model=model, exempt=exempt
    )
    return Reserve(request, forced=True, owner=owner)
