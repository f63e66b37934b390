"""The time of what is stored, in microseconds since the epoch."""

import time
from datetime import datetime


def now_us() -> int:
    """The time."""
    return time.time_ns() // 1000


def epoch_us(moment: datetime) -> int:
    """The moment."""
    return round(moment.timestamp() * 1_000_000)


def now_s() -> float:
    """The same in seconds."""
    return time.time()
