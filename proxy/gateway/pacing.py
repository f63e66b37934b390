"""Rate limits of teams and keys: counted by each process for itself, because exact are the budgets.

A call takes its place before its body is read. Its tokens are known when it is over: who has used up
a minute's worth waits until they have come back, so that calls under way at once may overshoot.
"""

import math
import time
from collections.abc import Iterator

from proxy.core.errors import RateLimitExceeded
from proxy.core.rates import Pace, RateLimit
from proxy.gateway.active import ActiveCall

_REQUESTS, _TOKENS = "requests", "tokens"


class Pacing:
    """What teams and keys with rate limits have used of late."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, str, str], Pace] = {}

    def admit(self, call: ActiveCall) -> None:
        """Count the call. Raises RateLimitExceeded, and counts nothing, where a limit is used up."""
        if not call.config.rate_limits:
            return
        now_s = time.monotonic()
        taken = []
        for scope, name, limit in _limits(call):
            for what, most in _each(limit):
                pace = self._pace(scope, name, what)
                wait_s = pace.wait_s(most, now_s)
                if wait_s:
                    raise _exceeded(scope, name, what, most, wait_s)
                if what == _REQUESTS:
                    taken.append((pace, most))
        for pace, most in taken:
            pace.take(1, most, now_s)

    def used(self, call: ActiveCall, tokens: int) -> None:
        """Count the tokens of a call that is over."""
        if not tokens or not call.config.rate_limits:
            return
        for scope, name, limit in _limits(call):
            if limit.tokens_per_minute is not None:
                pace = self._pace(scope, name, _TOKENS)
                pace.take(tokens, limit.tokens_per_minute, time.monotonic())

    def _pace(self, scope: str, name: str, what: str) -> Pace:
        return self._paces.setdefault((scope, name, what), Pace())


def _limits(call: ActiveCall) -> Iterator[tuple[str, str, RateLimit]]:
    key = call.principal.key
    for scope, name in (("team", key.team.name), ("key", key.name)):
        limit = call.config.rate_limits.get((scope, name))
        if limit is not None:
            yield scope, name, limit


def _each(limit: RateLimit) -> Iterator[tuple[str, int]]:
    if limit.requests_per_minute is not None:
        yield _REQUESTS, limit.requests_per_minute
    if limit.tokens_per_minute is not None:
        yield _TOKENS, limit.tokens_per_minute


def _exceeded(scope: str, name: str, what: str, most: int, wait_s: float) -> RateLimitExceeded:
    seconds = math.ceil(wait_s)
    return RateLimitExceeded(
        f"The {scope} {name!r} may use {most} {what} a minute, and has. Try again in {seconds} s, or "
        f"have its {what}_per_minute raised.",
        headers=(("retry-after", str(seconds)),),
    )
