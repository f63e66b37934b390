"""How often somebody may try to log in.

Counted in each process by itself: N workers give an attacker N times as many tries. That is a bound on
noise and on careless tokens, not what protects: the admin API of the same port counts none, since a
limit there would let anybody shut an administrator out. What protects is a token that can't be guessed;
``farebox check`` tells of one that is short. A limit in the database would be a write that anybody
can cause without having proved who they are.
"""

from collections import OrderedDict, deque

FAILURES = 5  # of one address within the span
ALL_FAILURES = 100  # of all addresses
SPAN_S = 60.0
_ADDRESSES = 10_000


class Attempts:
    """The failed logins of the last minute, by the address that they came from."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque()

    def wait_s(self, address: str, now_s: float) -> float:
        """How long the address has to wait before it may try; 0: it may."""
        own = self._by_address.get(address, deque())
        return max(_wait(own, FAILURES, now_s), _wait(self._all, ALL_FAILURES, now_s))

    def failed(self, address: str, now_s: float) -> None:
        """It tried, and was wrong."""
        own = self._by_address.setdefault(address, deque())
        self._by_address.move_to_end(address)
        if len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)
        for failures, most in ((own, FAILURES), (self._all, ALL_FAILURES)):
            failures.append(now_s)
            if len(failures) > most:
                failures.popleft()


def _wait(failures: deque[float], most: int, now_s: float) -> float:
    while failures and failures[0] <= now_s - SPAN_S:
        failures.popleft()
    return failures[0] + SPAN_S - now_s if len(failures) >= most else 0.0
