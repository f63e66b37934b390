"""How a call ended, in the words of its row."""

from proxy.core.call import AttemptRecord, Outcome
from proxy.core.errors import UpstreamFailed
from proxy.gateway.active import ActiveCall
from proxy.gateway.meter import DEFECT, STOPPED, Answered


def outcome_of(call: ActiveCall, failure: UpstreamFailed | None) -> Outcome:
    """What a call that was forwarded came to."""
    if call.client_left:
        return Outcome.CLIENT_LEFT
    if failure is not None:
        call.status = call.status or failure.status
        call.refusal = failure.code
        return Outcome.UPSTREAM_FAILED
    return Outcome.LOST if call.given_up in {STOPPED, DEFECT} else call.outcome


def measured_now(relay: Answered) -> AttemptRecord | None:
    """The attempt's row, where it takes no counting, and no defect is in the way."""
    try:
        return relay.measured_now()
    except Exception:  # noqa: BLE001 - it is told where it is tried again, and estimated
        return None


def note_defect(call: ActiveCall) -> None:
    """A defect of ours ended it."""
    call.given_up = DEFECT
    call.status = call.status or 500
    call.refusal = "internal_error"
