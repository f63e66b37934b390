"""What passes between the data path and the ledger: a request for a hold, the hold, its settlement."""

from msgspec import Struct

from proxy.core.budgets import Refused, WindowKey
from proxy.core.call import CallRecord, Principal, Totals


class HoldRequest(Struct, frozen=True):
    """Ask the ledger to set money aside for a call, durably, before a byte goes upstream.

    ``record`` is the call's row as far as it is known, with its first attempt as it is about to be
    sent: what a sweep writes, marked lost, if this process dies before it settles.
    """

    principal: Principal
    record: CallRecord
    amount_nano: int  # the most that the call can cost
    estimate_nano: int = 0  # what it will likely cost: the charge of a lost call, by policy
    model: str = ""  # the public model name, for budgets on models
    unpriced: bool = False  # nothing says what the model costs: each budget's policy decides
    unbounded: bool = False  # its body does not bound its cost: likewise
    exempt: bool = False  # costs nothing by its nature (a list of models): no budget refuses it


class Hold(Struct, frozen=True):
    """Money set aside. Given back exactly once, by ``Ledger.settle``."""

    call_id: str
    amount_nano: int
    windows: tuple[WindowKey, ...]
    warnings: tuple[str, ...] = ()  # ids of the warn budgets it put over their limit
    hard: bool = False  # a blocking budget is among them: a stream must not run past the hold
    provisional: bool = False  # taken while the database was away (ledger.unavailable: allow)


class Kept(Struct, frozen=True):
    """What goes on at the provider when its call is over: a batch. The call's hold goes on with it.

    Under a name of its own, whichever processes come and go, until ``Ledger.give_back``. If that never
    comes, the hold is lost at ``until_us``, and ends as this ``record``.
    """

    record: CallRecord
    estimate_nano: int
    until_us: int


class Settlement(Struct, frozen=True):
    """The end of a call: its rows, its charge (the sum over the attempts), and the end of its hold.

    A refused call has no hold. What is metered of something that went on (``Kept``) is charged to what
    was held for that: it ``draws_on`` it, as far as it goes.
    """

    record: CallRecord
    principal: Principal
    hold: Hold | None = None
    model: str = ""
    sums: Totals | None = None  # the record's, where they are known already
    keeps: Kept | None = None
    draws_on: tuple[str, ...] = ()  # ids of holds: the first that is there, or was thought lost


__all__ = ["Hold", "HoldRequest", "Kept", "Refused", "Settlement"]
