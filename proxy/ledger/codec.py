"""A call's record as text: in the hold of a call under way, and in the spool.

Arrays in the order of the fields (``array_like``), because a hold is written for every call and names
would be half of it. A hold or a spool can outlive an upgrade: fields may only be appended to
``CallRecord`` and ``AttemptRecord``, with a default, which is what is missing at the end.
"""

from msgspec import json

from proxy.core.budgets import WindowKey
from proxy.core.call import CallRecord

_encoder = json.Encoder()
_records = json.Decoder(CallRecord)
_windows = json.Decoder(tuple[WindowKey, ...])


def encode(record: CallRecord) -> str:
    """The record as JSON. Raises ValueError for text that is not Unicode."""
    return _encoder.encode(record).decode()


def decode(text: str | bytes) -> CallRecord:
    """The record that ``encode`` wrote. Raises msgspec.MsgspecError for anything else."""
    return _records.decode(text)


def encode_windows(keys: tuple[WindowKey, ...]) -> str:
    """The windows that a hold counts on, as JSON."""
    return _encoder.encode(keys).decode()


def decode_windows(text: str) -> tuple[WindowKey, ...]:
    """The windows that ``encode_windows`` wrote."""
    return _windows.decode(text)
