"""A call's record without what no database takes: only looked at where one was refused."""

from typing import Any

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord
from proxy.core.reservation import HoldRequest, Settlement
from proxy.ledger.base import Note, Operation, Reserve, Settle

_MOST = 2**63 - 1  # of a BIGINT
_MOST_STATUS = 2**15 - 1  # of a SMALLINT
_INSTEAD = "\ufffd"  # of a NUL, or half a surrogate pair


def wash(operation: Operation) -> bool:
    """Change an operation so that a database takes it; False where there is nothing to change."""
    before: object
    after: object
    match operation:
        case Reserve():
            before = operation.request
            after = operation.request = _washed_request(operation.request)
        case Settle():
            before = operation.settlement
            after = operation.settlement = _washed_settlement(operation.settlement)
        case Note():
            before = operation.record
            after = operation.record = washed(operation.record)
        case _:
            return False
    return before is not after


def _washed_request(request: HoldRequest) -> HoldRequest:
    record = washed(request.record)
    if record is request.record:
        return request
    return replace(request, record=record, principal=record.principal, model=_text(request.model))


def _washed_settlement(settlement: Settlement) -> Settlement:
    record, keeps = washed(settlement.record), settlement.keeps
    if record is settlement.record:
        return settlement
    return replace(
        settlement,
        record=record,
        principal=record.principal,
        model=_text(settlement.model),
        keeps=replace(keeps, record=washed(keeps.record)) if keeps is not None else None,
    )


def washed(record: CallRecord) -> CallRecord:
    """The record as a database takes it; the same object where there is nothing to change."""
    changes = _changes(record)
    tags = tuple((_text(k), _text(v)) for k, v in record.tags)
    if tags != record.tags:
        changes["tags"] = tags
    attempts = tuple(_washed_attempt(a) for a in record.attempts)
    if any(a is not b for a, b in zip(attempts, record.attempts, strict=True)):
        changes["attempts"] = attempts
    return replace(record, **changes) if changes else record


def _washed_attempt(attempt: AttemptRecord) -> AttemptRecord:
    changes = _changes(attempt)
    usage = _changes(attempt.usage)
    if usage:
        changes["usage"] = replace(attempt.usage, **usage)
    return replace(attempt, **changes) if changes else attempt


def _changes(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if type(value) is str:
            clean: str | int = _text(value)
        elif type(value) is int:
            most = _MOST_STATUS if name == "status" else _MOST
            clean = max(-most, min(value, most))
        else:
            continue
        if clean != value:
            found[name] = clean
    return found


def _text(value: str) -> str:
    if value.isascii() and "\0" not in value:
        return value
    return (
        value.replace("\0", _INSTEAD).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
