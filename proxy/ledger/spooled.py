"""Operations as entries of a spool, and back."""

from msgspec import Struct, json

from proxy.core.call import CallRecord
from proxy.core.reservation import HoldRequest, Kept, Settlement
from proxy.ledger.base import Note, Operation, Reserve, Settle


class HoldEntry(Struct, frozen=True, tag="hold"):
    """A hold that was taken while the database was away."""

    record: CallRecord
    model: str
    amount_nano: int
    estimate_nano: int
    exempt: bool
    owner: str


class NoteEntry(Struct, frozen=True, tag="note"):
    """A further attempt."""

    record: CallRecord


class SettleEntry(Struct, frozen=True, tag="settle"):
    """The end of a call."""

    record: CallRecord
    model: str
    keeps: Kept | None = None
    draws_on: tuple[str, ...] = ()


_encoder = json.Encoder()
_entries = json.Decoder(HoldEntry | NoteEntry | SettleEntry)


def hold_entry(request: HoldRequest, amount_nano: int, owner: str) -> bytes:
    """A hold that was taken while the database was away."""
    return _encoder.encode(
        HoldEntry(
            request.record,
            request.model,
            amount_nano,
            request.estimate_nano,
            request.exempt,
            owner,
        )
    )


def note_entry(record: CallRecord) -> bytes:
    """A further attempt."""
    return _encoder.encode(NoteEntry(record))


def settle_entry(settlement: Settlement) -> bytes:
    """The end of a call."""
    return _encoder.encode(
        SettleEntry(settlement.record, settlement.model, settlement.keeps, settlement.draws_on)
    )


def operation_of(payload: bytes) -> Operation:
    """What the entry asks the ledger to do. Raises msgspec.MsgspecError for nonsense."""
    entry = _entries.decode(payload)
    record = entry.record
    principal = record.principal
    if isinstance(entry, SettleEntry):
        end = Settlement(
            record, principal, None, entry.model, keeps=entry.keeps, draws_on=entry.draws_on
        )
        return Settle(end, patient=True)
    if isinstance(entry, NoteEntry):
        return Note(record, patient=True)
    request = HoldRequest(
        principal,
        record,
        entry.amount_nano,
        estimate_nano=entry.estimate_nano,
        model=entry.model,
        exempt=entry.exempt,
    )
    return Reserve(request, forced=True, owner=entry.owner, patient=True)


def entry_of(operation: Operation) -> bytes:
    """The entry that an operation was replayed from."""
    if isinstance(operation, Settle):
        return settle_entry(operation.settlement)
    if isinstance(operation, Reserve):
        request = operation.request
        return hold_entry(request, request.amount_nano, operation.owner)
    assert isinstance(operation, Note)  # noqa: S101 - nothing else is spooled
    return note_entry(operation.record)
