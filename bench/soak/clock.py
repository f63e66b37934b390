"""Farebox with another clock: ``python -m bench.soak.clock NANOSECONDS serve --config FILE``.

The clock of the process is so much ahead, so that a soak of a minute can see a month end. Only what
tells the time of day is set; what measures durations goes on as it is. The clock of the database,
by which leases are told on PostgreSQL, stays too: the two never agree to the microsecond anyhow.
"""

import runpy
import sys
import time


def set_clock(ahead_ns: int) -> None:
    """Let this process think that it is later."""
    real_ns, real = time.time_ns, time.time
    time.time_ns = lambda: real_ns() + ahead_ns
    time.time = lambda: real() + ahead_ns / 1e9


if __name__ == "__main__":
    set_clock(int(sys.argv.pop(1)))
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)
