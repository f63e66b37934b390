"""What a soak is asked to do."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Fault(StrEnum):
    """What is done to the machines. What is done to calls is in ``traffic.KINDS``."""

    KILL = "replica killed (-9)"
    STOP = "replica stopped (TERM)"
    FREEZE = "replica frozen past its lease"
    DATABASE_PAUSE = "database stands still"
    DATABASE_RESTART = "database restarted"
    BUDGET = "budget changed"
    RELOAD = "configuration reloaded"
    BAD_RELOAD = "broken configuration offered"


ALL_FAULTS = tuple(Fault)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Equal plans make equal choices; what they lead to depends on the machine's timing."""

    seconds: float = 60
    seed: int = 1
    database: str = "sqlite"  # postgres: a server of its own; else the address of a database
    replicas: int = 3
    clients: int = 12  # calls at once
    pause_s: float = 0.1  # of a client between two calls, on average
    faults: tuple[Fault, ...] = ALL_FAULTS
    every_s: float = 1.5  # a fault, on average
    kills: int = 0  # go on until so many replicas were killed, however long that takes
    lease_s: float = 3
    hold_wait_s: float = 0.3
    upstream_s: float = (
        6.0  # how long Farebox waits for the provider to say something, on a busy machine, too
    )
    unavailable: str = "reject"
    lost: str = "charge_estimate"

    def ahead_ns(self) -> int:
        """How far to set the clock so that the month ends in the middle of the run."""
        now = time.time()
        today = datetime.fromtimestamp(now, UTC)
        year, month = divmod(today.year * 12 + today.month, 12)
        ends = datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
        return int((ends - now - self.seconds / 2) * 1e9)
