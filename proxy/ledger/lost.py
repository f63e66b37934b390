"""What becomes of a call whose process died: a row marked lost, charged by policy."""

from enum import StrEnum

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, Outcome
from proxy.core.usage import UsageSource

ERROR = "lost"


class LostPolicy(StrEnum):
    """What a lost call is charged: nobody knows any more what it cost."""

    CHARGE_ESTIMATE = "charge_estimate"
    CHARGE_HOLD = "charge_hold"
    RELEASE = "release"


def charge_of(policy: LostPolicy, amount_nano: int, estimate_nano: int, record: CallRecord) -> int:
    """The charge of a lost call, never more than was held for it.

    The estimate is of one attempt, the one under way; what earlier ones cost is known.
    """
    match policy:
        case LostPolicy.CHARGE_ESTIMATE:
            return min(known_nano(record) + estimate_nano, amount_nano)
        case LostPolicy.CHARGE_HOLD:
            return amount_nano
        case LostPolicy.RELEASE:
            return 0


def known_nano(record: CallRecord) -> int:
    """What the attempts came to that were over when the call was lost."""
    return sum(a.cost_nano for a in record.attempts[:-1])


def lost(record: CallRecord, charge_nano: int) -> CallRecord:
    """The row of a lost call: its attempts as they were last noted, the open one marked and charged.

    A hold without an attempt is a call that may have been sent: it gets one attempt, to nobody knows
    where.
    """
    attempts = record.attempts or (
        AttemptRecord(1, "", record.model_requested, record.started_at_us, 0),
    )
    last = replace(
        attempts[-1],
        cost_nano=max(charge_nano - known_nano(record), 0),
        usage_source=UsageSource.ESTIMATED,
        error=ERROR,
    )
    return replace(
        record,
        outcome=Outcome.LOST,
        attempts=(*(_marked(a) for a in attempts[:-1]), last),
    )


def _marked(attempt: AttemptRecord) -> AttemptRecord:
    """An earlier attempt: its end is known, unless it has neither a status nor an error."""
    if attempt.status is None and not attempt.error:
        return replace(attempt, error=ERROR, usage_source=UsageSource.ESTIMATED)
    return attempt
