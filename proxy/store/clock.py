"""The time of what is stored."""

import time


def now_us() -> int:
    """The time, in microseconds since the epoch."""
    return time.time_ns() // 1000
